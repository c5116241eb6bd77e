"""A replica that works for long holds on to no more than one that has just warmed up."""

import os
from pathlib import Path

import pytest

from tests.faults.reporting import record
from tests.faults.storm.soak import figures, soak
from tests.harness import Deployment

SOAK_S = float(os.environ.get("SOAK_S", "20"))
# In the second half of the soak. Pages come and go with the size of batches; what leaks does not come back.
MOST_GROWTH_KIB = 8 * 1024


@pytest.mark.timeout(SOAK_S + 120)
def test_replica_holds_on_to_nothing_under_a_steady_load(deployment: Deployment, tmp_path: Path) -> None:
    held = soak(deployment, tmp_path, SOAK_S)

    settled = deployment.redis.xlen(deployment.results)
    record("soak", f"{SOAK_S:g} s", lost=len(deployment.accepted) - settled, **figures(SOAK_S, held, settled))
    assert settled == len(deployment.accepted)
    for each in held:
        assert each.most("threads") - each.least("threads") <= 1
        assert each.most("descriptors") - each.least("descriptors") <= 4
        assert each.slope_an_hour("rss_kib") * SOAK_S / 2 / 3600 < MOST_GROWTH_KIB
