"""The model bites: each of these defects makes a history go wrong; the report says how to see it again."""

import pytest
from msgspec.structs import replace

from tests.faults.model.defect import planted
from tests.faults.model.defects import DEFECTS as OF_THE_LOOP
from tests.faults.model.defects_of_identity import DEFECTS_OF_IDENTITY
from tests.faults.model.exhaustive import small_worlds, with_another_fault
from tests.faults.model.history import broken, report, shrunk
from tests.faults.model.plan import Plan, random_plan

AT_MOST = 3000
DEFECTS = OF_THE_LOOP | DEFECTS_OF_IDENTITY
# These need one fault at one step, which chance seldom finds.
BY_EVERY_FAULT = {"looks for nothing unseen", "forgets outcomes in an outage"}


@pytest.mark.parametrize("name", sorted(DEFECTS.keys() - BY_EVERY_FAULT))
def test_random_histories_find_a_worker_that(name: str) -> None:
    with planted(DEFECTS[name]) as make:
        assert any(broken(random_plan(seed), make) for seed in range(AT_MOST))


@pytest.mark.parametrize("name", sorted(BY_EVERY_FAULT))
def test_every_fault_at_every_step_finds_a_worker_that(name: str) -> None:
    with planted(DEFECTS[name]) as make:
        assert any(
            broken(struck, make) for plan in small_worlds() for struck in with_another_fault(plan, make)
        )


def test_report_tells_the_seed_and_the_faults_that_are_needed() -> None:
    with planted(DEFECTS["takes an unknown commit for a failure"]) as make:
        plan = next(plan for plan in map(random_plan, range(AT_MOST)) if broken(plan, make))

        told = report(plan, make)

    assert f"python -m tests.faults.model {plan.seed}" in told
    assert "FAULT" in told
    assert "VIOLATED I" in told


def test_shrinking_leaves_a_history_that_fails_without_anything_to_leave_out() -> None:
    with planted(DEFECTS["takes an unknown commit for a failure"]) as make:
        plan = next(plan for plan in map(random_plan, range(AT_MOST)) if broken(plan, make))

        least: Plan = shrunk(plan, make)

        assert broken(least, make)
        assert len(least.faults) + len(least.entries) < len(plan.faults) + len(plan.entries)
        for parts in ("faults", "entries"):
            kept = getattr(least, parts)
            for place in range(len(kept)):
                assert not broken(replace(least, **{parts: kept[:place] + kept[place + 1 :]}), make)
