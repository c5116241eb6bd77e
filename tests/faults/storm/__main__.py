"""Runs a storm by itself: `python -m tests.faults.storm [SEED [KILLS [FLEETS]]]`."""

import json
import sys
import tempfile
from pathlib import Path

from tests.faults.reporting import record
from tests.faults.storm.plan import FULL, sized
from tests.faults.storm.servers import own_servers
from tests.faults.storm.storm import Storm
from tests.harness import assert_invariants


def main(seed: int = 1, kills: int = FULL.kills, fleets: int = 1) -> None:
    """Let it pass, and print what it left."""
    folder = Path(tempfile.mkdtemp(prefix="storm-"))
    with own_servers(folder, fleets) as (deployments, redis_server, postgres_server):
        left = Storm(deployments, redis_server, postgres_server, folder, sized(kills), seed).run()
        record("storm", f"storm, seed {seed}", **left.figures)
        sys.stdout.write(f"{json.dumps(left.figures, indent=1)}\n{folder}\n")
        for deployment in deployments:
            assert_invariants(deployment, *left.tallies)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
