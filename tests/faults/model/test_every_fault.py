"""Two workers, two entries: each fault at each step."""

import os
from itertools import islice

import pytest

from tests.faults.model.exhaustive import small_worlds, with_another_fault, with_another_turn
from tests.faults.model.history import broken, report
from tests.faults.model.plan import Plan
from tests.faults.reporting import record


def _size(plan: Plan) -> tuple[str, ...]:
    if plan.fleets == 1:
        return (str(plan.batch_size),)
    return ("two fleets", "one results stream" if plan.one_results_stream else "two of them")


WORLDS = small_worlds()
# Two faults in every small world are over a million histories. Every so many first ones are followed by every
# so many second ones; MODEL_EVERY=1 runs all. Of single ones a twentieth as many are passed over: by default
# a fifth of them strikes, in each world another fifth, and below MODEL_EVERY=40 all do.
EVERY = int(os.environ.get("MODEL_EVERY", "100"))
SINGLE_EVERY = max(1, EVERY // 20)

every_world = pytest.mark.parametrize(
    "plan",
    WORLDS,
    ids=["-".join((*(kind for _, kind in plan.entries), *_size(plan))) for plan in WORLDS],
)


@every_world
def test_nothing_is_lost_or_done_twice_with_one_fault_at_any_step(plan: Plan) -> None:
    histories = 0
    for struck in islice(with_another_fault(plan), WORLDS.index(plan) % SINGLE_EVERY, None, SINGLE_EVERY):
        assert not broken(struck), report(struck)
        histories += 1
    assert histories
    record("model", "one fault", histories=histories, faults=histories)


@every_world
def test_nothing_is_lost_or_done_twice_whenever_another_thread_has_its_turn(plan: Plan) -> None:
    for preempted in with_another_turn(plan):
        assert not broken(preempted), report(preempted)


@pytest.mark.timeout(0 if EVERY < 100 else 240)
def test_nothing_is_lost_or_done_twice_with_two_faults_at_any_steps() -> None:
    histories = 0
    once = (struck for plan in WORLDS for struck in with_another_fault(plan))
    for first in islice(once, 0, None, EVERY):
        # Not always from the beginning: the kinds of fault follow each other in the same order at every step.
        for second in islice(with_another_fault(first), first.faults[0].step % EVERY, None, EVERY):
            assert not broken(second), report(second)
            histories += 1
    record("model", "two faults", histories=histories, faults=2 * histories)
