"""Random histories: a seed stands for entries, faults and turns.

MODEL_HISTORIES says how many, MODEL_FIRST_SEED where they begin. `python -m tests.faults.model SEED` tells one again.
"""

import os

import pytest

from tests.faults.model.history import broken, report, run, told
from tests.faults.model.plan import LOSSES, OF_A_CALL, random_plan
from tests.faults.reporting import record

HISTORIES = int(os.environ.get("MODEL_HISTORIES", "20000"))
FIRST_SEED = int(os.environ.get("MODEL_FIRST_SEED", "0"))
SHARES = 8


@pytest.mark.timeout(60 + HISTORIES // 100)
@pytest.mark.parametrize("share", range(SHARES))
def test_nothing_is_lost_or_done_twice_in_any_history(share: int) -> None:
    histories = faults = 0
    for seed in range(FIRST_SEED + share, FIRST_SEED + HISTORIES, SHARES):
        plan = random_plan(seed)
        assert not broken(plan), report(plan)
        histories, faults = histories + 1, faults + len(plan.faults)
    record("model", f"random histories, share {share}", histories=histories, faults=faults)


@pytest.mark.parametrize("seed", range(40))
def test_same_seed_tells_the_same_history(seed: int) -> None:
    plan = random_plan(seed)

    assert told(plan) == told(plan)


def test_every_kind_of_fault_strikes() -> None:
    struck = {kind for seed in range(300) for kind in run(random_plan(seed)).struck}

    assert struck >= OF_A_CALL | set(LOSSES)
