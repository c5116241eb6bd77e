"""Random histories: a seed stands for entries, faults and turns.

MODEL_HISTORIES says how many, MODEL_FIRST_SEED where they begin. `python -m tests.faults.model SEED` tells
one again.
"""

import os

import pytest

from tests.faults.model.history import broken, report, run, told
from tests.faults.model.plan import LOSSES, OF_A_CALL, random_plan
from tests.faults.model.world import World
from tests.faults.reporting import record

HISTORIES = int(os.environ.get("MODEL_HISTORIES", "9000"))
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


@pytest.mark.parametrize("republishes", [True, False])
def test_nobody_can_know_in_some_histories_and_a_person_decides_either_way(*, republishes: bool) -> None:
    """Proves that the model comes where results and marks are lost, and where an audit answers for each."""
    plans = (plan for plan in map(random_plan, range(600)) if plan.republishes == republishes)
    fleets = (fleet for plan in plans for fleet in run(plan).fleets)

    decided = next((fleet for fleet in fleets if fleet.decided), None)

    assert decided is not None
    assert not decided.stream.unknown


def test_two_fleets_have_entries_of_one_id_that_are_different_orders_of_equal_content() -> None:
    """Proves that what two fleets must tell apart is there in histories to be taken for one another."""
    worlds = [run(plan) for plan in map(random_plan, range(300)) if plan.fleets == 2]

    alike = [
        entry_id
        for world in worlds
        for entry_id in _of_one_id(world)
        if len({fleet.fingerprint(entry_id) for fleet in world.fleets}) == 1
        and len({fleet.accepted[entry_id].order_id for fleet in world.fleets}) == 2
    ]

    assert len(alike) > len(worlds) // 2
    assert len(alike) < sum(len(_of_one_id(world)) for world in worlds)


def _of_one_id(world: World) -> set[str]:
    ours, its = world.fleets
    return ours.accepted.keys() & its.accepted.keys()
