"""A seed stands for one storm, and its figures say what happened in it."""

import pytest

from tests.faults.storm.figures import Recovery, recovery
from tests.faults.storm.plan import A_TENTH, FULL, plan, sized
from tests.faults.storm.steps import EVERY_STEP
from tests.faults.storm.traffic import traffic


def test_same_seed_draws_the_same_storm() -> None:
    assert plan(A_TENTH, 5) == plan(A_TENTH, 5) != plan(A_TENTH, 6)
    assert traffic(1000, 5) == traffic(1000, 5) != traffic(1000, 6)


def test_more_kills_make_more_of_everything() -> None:
    assert sized(FULL.kills) == FULL
    assert sized(100) == A_TENTH
    assert sized(10_000).orders == 1_000_000


def test_kills_are_aimed_at_every_step() -> None:
    aimed = {fault.step for fault in plan(A_TENTH, 1) if fault.kind == "kill"}

    assert aimed == {None, *EVERY_STEP}


def test_traffic_has_each_kind_in_its_share_and_says_which_results_are_due() -> None:
    made = traffic(10_000, 1)

    assert made.kinds == {"sound": 9290, "duplicate": 500, "conflict": 100, "undecodable": 100, "poison": 10}
    assert made.due[-1] == len(made.executed) == 9290
    assert len(made.poisonous) == 10


@pytest.mark.parametrize(
    ("down", "waited"),
    [
        ([], 4.0),
        ([(10.0, 12.0)], 2.0),
        ([(9.0, 11.0), (11.5, 13.5)], 0.5),
        ([(20.0, 21.0)], 4.0),
    ],
    ids=["no crash", "its own crash", "two crashes in turn", "a later crash"],
)
def test_recovery_leaves_out_the_time_in_which_a_server_was_down(
    down: list[tuple[float, float]], waited: float
) -> None:
    found = recovery([(10.0, "kill")], down, [9.0, 14.0, 30.0])

    assert found["kill"] == Recovery(waited, waited, waited)
