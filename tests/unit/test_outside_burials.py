"""Executors with effects outside the transaction: none is buried before the venue was asked for the order."""

from collections.abc import Sequence
from decimal import Decimal

import pytest

from tests.builders import filled, order
from tests.fakes import Bench
from tests.unit.test_outside_orders import LEASE_S, dies, outside, raising, successor, venue_of
from worker.domain.deliveries import Dead, Outcome, Retry, Settled
from worker.domain.errors import VenueUnavailable
from worker.domain.orders import Execution, Status

MAX_DELIVERIES = 3
UNKNOWN = "its outcome at the venue is unknown"
NOT_KNOWN = "the venue does not know it"


def died_with_it(bench: Bench, entry_id: str) -> None:
    """Leave an entry as processes do that died with it too often."""
    assert bench.stream.group is not None
    bench.stream.group.pending[entry_id].count = MAX_DELIVERIES


def submitted_and_poison(*, known: bool) -> Bench:
    first = outside()
    (entry_id,) = first.submit("a")
    dies(first, "resolve")
    if not known:
        venue_of(first).book.clear()
    died_with_it(first, entry_id)
    return successor(first)


def handle_to_the_end(bench: Bench) -> Sequence[Outcome]:
    """Handle, and again for as long as it is to be tried again."""
    outcomes = bench.handle_next()
    while isinstance(outcomes[0], Retry):
        bench.intake.postpone(outcomes[0].delivery)
        bench.clock.advance(20)
        bench.lease.renew()
        outcomes = bench.handle_next()
    return outcomes


def test_poison_that_the_venue_knows_gets_its_outcome() -> None:
    bench = submitted_and_poison(known=True)

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Settled)
    assert bench.rows["a"].status is Status.FILLED
    assert bench.executor.executed == ["a"]


def test_poison_that_the_venue_does_not_know_is_buried_and_not_sent() -> None:
    bench = submitted_and_poison(known=False)

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Dead)
    assert outcome.reason == "poison"
    assert NOT_KNOWN in outcome.error
    assert bench.rows["a"].status is Status.DEAD
    assert bench.executor.executed == ["a"]


def test_poison_that_has_no_row_is_asked_for_before_it_is_buried() -> None:
    bench = outside()
    (entry_id,) = bench.submit("a")
    bench.orders.read(1, 1)
    bench.clock.advance(LEASE_S + 1)
    died_with_it(bench, entry_id)
    venue_of(bench).book["a"] = filled(order("a"))

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Settled)
    assert bench.rows["a"].status is Status.FILLED


def test_poison_that_is_no_order_is_buried_at_once() -> None:
    bench = outside()
    entry_id = bench.stream.add(b"payload", b"[" * 100)
    bench.orders.read(1, 1)
    bench.clock.advance(LEASE_S + 1)
    died_with_it(bench, entry_id)

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Dead)
    assert (outcome.reason, venue_of(bench).asked) == ("poison", [])


def test_poison_waits_when_the_venue_is_away() -> None:
    bench = submitted_and_poison(known=True)
    venue_of(bench).find_instead["a"] = raising(VenueUnavailable("closed"))

    with pytest.raises(VenueUnavailable):
        bench.handle_next()

    assert bench.rows["a"].status is Status.SUBMITTED


def test_order_that_raised_to_the_last_is_asked_for_and_gets_its_outcome_where_it_was_executed() -> None:
    bench = outside(max_deliveries=1)
    bench.submit("a")
    venue_of(bench).book["a"] = Execution(Status.REJECTED, error_message="no margin")
    bench.executor.instead["a"] = raising(TimeoutError("no answer"))

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Settled)
    assert bench.rows["a"].error_message == "no margin"


def test_order_that_raised_is_tried_again_by_way_of_a_question() -> None:
    bench = outside()
    bench.submit("a")
    bench.executor.instead["a"] = raising(TimeoutError("no answer"))
    (retry,) = bench.handle_next()
    bench.executor.instead.clear()
    assert isinstance(retry, Retry)

    bench.intake.postpone(retry.delivery)
    bench.clock.advance(20)
    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Settled)
    assert venue_of(bench).asked == ["a"]
    assert bench.rows["a"].status is Status.FILLED


def test_order_that_raised_to_the_last_and_that_the_venue_does_not_know_is_buried_as_failed() -> None:
    bench = outside()
    bench.submit("a")
    bench.executor.instead["a"] = raising(TimeoutError("no answer"))

    (outcome,) = handle_to_the_end(bench)

    assert isinstance(outcome, Dead)
    assert (outcome.reason, outcome.error) == ("failed", f"TimeoutError: no answer; {NOT_KNOWN}")
    assert bench.executor.executed == ["a"] * MAX_DELIVERIES
    assert bench.rows["a"].status is Status.DEAD


def test_order_that_the_venue_can_not_tell_of_is_buried_as_failed_with_an_outcome_unknown() -> None:
    bench = outside()
    bench.submit("a")
    bench.executor.instead["a"] = raising(TimeoutError("no answer"))
    venue_of(bench).find_instead["a"] = raising(ValueError("x" * 5000))

    (outcome,) = handle_to_the_end(bench)

    assert isinstance(outcome, Dead)
    assert outcome.reason == "failed"
    assert outcome.error.startswith(UNKNOWN)
    assert bench.executor.executed == ["a"]
    assert len(venue_of(bench).asked) == MAX_DELIVERIES


def test_poison_that_the_venue_can_not_tell_of_is_buried_as_failed_with_an_outcome_unknown() -> None:
    bench = submitted_and_poison(known=True)
    venue_of(bench).find_instead["a"] = raising(ValueError("nonsense"))

    (outcome,) = handle_to_the_end(bench)

    assert isinstance(outcome, Dead)
    assert outcome.reason == "failed"
    assert UNKNOWN in outcome.error


@pytest.mark.parametrize("known", [True, False])
def test_trimmed_order_that_was_submitted_is_asked_for_and_never_sent(*, known: bool) -> None:
    bench = trimmed_after_its_intent(known=known)

    (outcome,) = bench.handle_next()

    assert bench.executor.executed == ["a"]
    if known:
        assert isinstance(outcome, Settled)
        assert (bench.rows["a"].status, bench.rows["a"].filled_quantity) == (Status.FILLED, Decimal("0.5"))
    else:
        assert isinstance(outcome, Dead)
        assert (outcome.reason, outcome.order_id) == ("trimmed", "a")
        assert bench.rows["a"].status is Status.DEAD


def test_trimmed_order_that_the_venue_can_not_tell_of_is_buried_in_the_end() -> None:
    bench = trimmed_after_its_intent(known=True)
    venue_of(bench).find_instead["a"] = raising(ValueError("nonsense"))

    (outcome,) = handle_to_the_end(bench)

    assert isinstance(outcome, Dead)
    assert UNKNOWN in outcome.error
    assert len(venue_of(bench).asked) == MAX_DELIVERIES + 1


def test_trimmed_entry_without_a_row_was_never_sent_and_nobody_is_asked() -> None:
    bench = outside()
    (entry_id,) = bench.submit("a")
    bench.orders.read(1, 1)
    trim(bench, entry_id)

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Dead)
    assert (outcome.reason, venue_of(bench).asked) == ("trimmed", [])


@pytest.mark.parametrize("culprit", [0, 5, 9])
def test_order_whose_outcome_is_refused_is_buried_alone_and_its_letter_says_it_may_be_executed(
    culprit: int,
) -> None:
    bench = outside()
    bench.submit(*(f"o{i}" for i in range(10)))
    bench.store.refuses = lambda row: row.order_id == f"o{culprit}" and row.status is Status.FILLED

    outcomes = bench.handle_next()

    (buried,) = (outcome for outcome in outcomes if isinstance(outcome, Dead))
    assert (buried.reason, buried.order_id) == ("database_rejected", f"o{culprit}")
    assert "the venue may have executed it" in buried.error
    assert bench.rows[f"o{culprit}"].status is Status.DEAD
    assert sum(isinstance(outcome, Settled) for outcome in outcomes) == 9
    assert len(bench.executor.executed) == 10


def test_order_whose_intent_is_refused_is_buried_alone_and_never_sent() -> None:
    bench = outside()
    bench.submit("a", "b", "c")
    bench.store.refuses = lambda row: row.order_id == "b" and row.status is Status.SUBMITTED

    outcomes = bench.handle_next()

    (buried,) = (outcome for outcome in outcomes if isinstance(outcome, Dead))
    assert (buried.reason, buried.order_id) == ("database_rejected", "b")
    assert "venue" not in buried.error
    assert bench.executor.executed == ["a", "c"]


@pytest.mark.parametrize("answer", [Execution(Status.SUBMITTED), Execution(Status.DEAD), None])
def test_answer_that_is_no_outcome_is_a_failure(answer: Execution | None) -> None:
    bench = outside()
    bench.submit("a")
    bench.executor.instead["a"] = lambda _: answer  # type: ignore[return-value,assignment]

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Retry)
    assert bench.rows["a"].status is Status.SUBMITTED


def trim(bench: Bench, entry_id: str) -> None:
    """Delete an entry under an owner who has had his time."""
    del bench.stream.entries[entry_id]
    bench.clock.advance(LEASE_S + 1)
    bench.intake.take()
    bench.clock.advance(LEASE_S + 1)


def trimmed_after_its_intent(*, known: bool) -> Bench:
    bench = outside()
    (entry_id,) = bench.submit("a")
    dies(bench, "resolve")
    bench.put_down(entry_id)
    if not known:
        venue_of(bench).book.clear()
    trim(bench, entry_id)
    return successor(bench)
