"""One storm for all that is to be said about it: a tenth of it by default, all with CHAOS=1, more with KILLS=10000."""

import os
from collections.abc import Iterator

import pytest

from tests.faults.reporting import record
from tests.faults.scale import CHAOS
from tests.faults.storm.plan import A_TENTH, FULL, Size, sized
from tests.faults.storm.storm import Aftermath, Storm, own_servers
from tests.harness import Deployment

SEED = int(os.environ.get("STORM_SEED", "1"))


def chosen_size() -> Size:
    """Return how large the storm is to be."""
    if kills := os.environ.get("KILLS"):
        return sized(int(kills))
    return FULL if CHAOS else A_TENTH


@pytest.fixture(scope="module")
def after_the_storm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, Aftermath]]:
    """What a storm has left, on servers that still stand."""
    folder = tmp_path_factory.mktemp("storm")
    with own_servers(folder) as (deployment, redis_server, postgres_server):
        left = Storm(deployment, redis_server, postgres_server, folder, chosen_size(), SEED).run()
        record("storm", f"seed {SEED}", **left.figures)
        yield deployment, left
