"""One storm for all that is to be said about it: a tenth of it by default, all with CHAOS=1, more with KILLS=10000.

Another over two fleets on one database, whose entries have equal ids.
"""

import os
from collections.abc import Iterator

import pytest

from tests.faults.reporting import record
from tests.faults.scale import CHAOS
from tests.faults.storm.plan import A_TENTH, FULL, Size, sized
from tests.faults.storm.storm import Aftermath, Storm, own_servers

SEED = int(os.environ.get("STORM_SEED", "1"))


def chosen_size() -> Size:
    """Return how large the storm is to be."""
    if kills := os.environ.get("KILLS"):
        return sized(int(kills))
    return FULL if CHAOS else A_TENTH


@pytest.fixture(scope="module", params=[1, 2], ids=["one fleet", "two fleets"])
def left(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """What a storm has left, on servers that still stand. That over two fleets is the size of every change."""
    folder, fleets = tmp_path_factory.mktemp("storm"), request.param
    size = chosen_size() if fleets == 1 else A_TENTH
    with own_servers(folder, fleets) as (deployments, redis_server, postgres_server):
        aftermath = Storm(deployments, redis_server, postgres_server, folder, size, SEED).run()
        record("storm", f"seed {SEED}, fleets {fleets}", **aftermath.figures)
        yield aftermath
