"""One storm for all that is said about it: a tenth by default, all with CHAOS=1, more with KILLS=10000.

Another over two fleets on one database, whose entries have equal ids; one more in which replicas of the last
version work beside those of this one.
"""

import os
from collections.abc import Iterator

import pytest

from tests.faults.reporting import record
from tests.faults.scale import CHAOS
from tests.faults.storm.plan import A_TENTH, FULL, Size, sized
from tests.faults.storm.servers import own_servers
from tests.faults.storm.storm import Aftermath, Storm
from tests.faults.versions import last
from tests.processes import ROOT

SEED = int(os.environ.get("STORM_SEED", "1"))


def chosen_size() -> Size:
    """Return how large the storm is to be."""
    if kills := os.environ.get("KILLS"):
        return sized(int(kills))
    return FULL if CHAOS else A_TENTH


@pytest.fixture(scope="module", params=["one fleet", "two fleets", "two versions"])
def left(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """What a storm has left, on servers that still stand.

    The storms of two fleets and of two versions always have the size of every change.
    """
    folder, over = tmp_path_factory.mktemp("storm"), request.param
    fleets = 2 if over == "two fleets" else 1
    size = chosen_size() if over == "one fleet" else A_TENTH
    trees = [ROOT]
    if over == "two versions":
        trees = [last.unpack(tmp_path_factory.mktemp("last-version")), ROOT]
    with own_servers(folder, fleets, trees) as (deployments, redis_server, postgres_server):
        aftermath = Storm(deployments, redis_server, postgres_server, folder, size, SEED, trees).run()
        record("storm", f"seed {SEED}, {over}", **aftermath.figures)
        yield aftermath
