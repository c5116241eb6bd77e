"""Executors with effects outside the transaction: commits before a send, and when the venue is asked."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from msgspec.structs import replace

from tests.builders import decoder, filled, flat, order, trade
from tests.fakes import Bench, FakeStream, FakeTable, FakeVenue
from worker.consumer import PreparedDecoder
from worker.domain.decimals import Digits
from worker.domain.deliveries import Dead, Delivery, Duplicate, Retry, Settled
from worker.domain.errors import Outage, VenueUnavailable
from worker.domain.orders import Execution, Order, OrderRecord, Status, record_execution

LEASE_S = 30


def outside(
    stream: FakeStream | None = None,
    table: FakeTable | None = None,
    *,
    venue: FakeVenue | None = None,
    consumer: str = "worker-1",
    max_deliveries: int = 3,
    max_order_age_s: float = 0,
) -> Bench:
    return Bench(
        stream, table, consumer=consumer, max_deliveries=max_deliveries, max_order_age_s=max_order_age_s,
        executor=venue if venue is not None else FakeVenue(filled),
    )  # fmt: skip


def venue_of(bench: Bench) -> FakeVenue:
    assert isinstance(bench.executor, FakeVenue)
    return bench.executor


def successor(bench: Bench, *, max_deliveries: int = 3, max_order_age_s: float = 0) -> Bench:
    """Another replica, once the first's leases have run out and what it may have begun has ended."""
    bench.clock.advance(LEASE_S * 4 / 3 + 1)
    return outside(
        bench.stream, bench.store.table, venue=venue_of(bench), consumer="worker-2",
        max_deliveries=max_deliveries, max_order_age_s=max_order_age_s,
    )  # fmt: skip


class Died(BaseException):
    """A process that ends here."""


def dies(bench: Bench, step: str) -> None:
    """Let the process end just before a step of the store."""

    def look(reached: str) -> None:
        if reached == step:
            raise Died

    bench.store.faults.on_step = look
    with pytest.raises(Died):
        bench.handle_next()
    bench.store.faults.on_step = lambda _step: None


def raising(error: BaseException) -> Callable[..., Execution]:
    def raise_it(*_: object) -> Execution:
        raise error

    return raise_it


def test_intent_is_committed_before_the_order_is_sent_and_its_outcome_after() -> None:
    bench = outside()
    (entry_id,) = bench.submit("a")
    seen: list[Status] = []

    def look(made: Order) -> Execution:
        seen.append(bench.rows["a"].status)
        return filled(made)

    bench.executor.instead["a"] = look

    (outcome,) = bench.handle_next()

    assert seen == [Status.SUBMITTED]
    assert outcome == Settled(outcome.delivery, bench.rows["a"], answered=False)
    assert (bench.rows["a"].status, bench.rows["a"].entry_id) == (Status.FILLED, entry_id)
    assert [each.quantity for each in bench.rows["a"].trades] == [Decimal("0.5")]


def test_group_takes_one_transaction_for_intents_and_one_for_outcomes() -> None:
    bench = outside()
    bench.submit(*(f"o{i}" for i in range(20)))

    outcomes = bench.handle_next()

    assert len(outcomes) == 20
    assert bench.store.faults.steps == ["record", "resolve"]
    assert venue_of(bench).asked == []


def test_pure_executor_takes_one_transaction_and_no_call_of_redis() -> None:
    bench = Bench()
    bench.submit(*(f"o{i}" for i in range(20)))
    bench.handle_next()

    assert bench.store.faults.steps == ["record"]
    assert set(bench.orders.faults.steps) <= {"read", "begin_look", "claim", "trimmed"}


def test_order_that_breaks_a_rule_is_rejected_at_once_and_never_sent() -> None:
    bench = outside()
    bench.submit("a", quantity="0")

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Settled)
    assert bench.rows["a"].status is Status.REJECTED
    assert bench.store.faults.steps == ["record"]
    assert (venue_of(bench).executed, venue_of(bench).asked) == ([], [])


def test_duplicate_of_a_submitted_order_is_acked() -> None:
    bench = outside()
    bench.submit("a")
    dies(bench, "resolve")
    bench.stream.add(*flat(order_id="a"))

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Duplicate)
    assert bench.rows["a"].status is Status.SUBMITTED


def test_conflict_with_a_submitted_order_is_a_dead_letter_and_changes_nothing() -> None:
    bench = outside()
    bench.submit("a")
    dies(bench, "resolve")
    bench.stream.add(*flat(order_id="a", quantity="7"))

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Dead)
    assert outcome.reason == "conflict"
    assert bench.rows["a"].quantity == Decimal("0.5")


def test_both_entries_of_one_order_in_a_group_lead_to_one_send() -> None:
    bench = outside()
    bench.submit("a", "a")

    outcomes = bench.handle_next()

    assert {type(outcome) for outcome in outcomes} == {Settled, Duplicate}
    assert bench.executor.executed == ["a"]


def test_order_that_reached_the_venue_before_the_crash_is_found_and_not_sent_again() -> None:
    first = outside()
    first.submit("a", "b")
    dies(first, "resolve")
    second = successor(first)

    outcomes = second.handle_next()

    assert first.executor.executed == ["a", "b"]
    assert venue_of(first).asked == ["a", "b"]
    assert [outcome.answered for outcome in outcomes if isinstance(outcome, Settled)] == [False, False]
    assert {row.status for row in second.rows.values()} == {Status.FILLED}


def test_order_that_never_reached_the_venue_is_sent_after_the_venue_was_asked() -> None:
    first = outside()
    first.submit("a")
    first.executor.instead["a"] = raising(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        first.handle_next()
    first.executor.instead.clear()
    second = successor(first)

    (outcome,) = second.handle_next()

    assert isinstance(outcome, Settled)
    assert venue_of(first).asked == ["a"]
    assert second.rows["a"].status is Status.FILLED


def test_claimed_order_without_a_row_is_asked_for_before_it_is_sent() -> None:
    bench = outside()
    bench.submit("a")
    bench.orders.read(1, 1)
    bench.clock.advance(LEASE_S + 1)
    venue_of(bench).book["a"] = filled(order("a"))

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Settled)
    assert bench.executor.executed == []


def test_submitted_order_that_comes_as_if_for_the_first_time_is_asked_for() -> None:
    bench = outside()
    (entry_id,) = bench.submit("a")
    dies(bench, "resolve")
    assert bench.stream.group is not None
    bench.put_down(entry_id)
    bench.stream.group = None
    bench.stream.make_group()

    (outcome,) = bench.handle_next()

    assert outcome.delivery.charged
    assert isinstance(outcome, Settled)
    assert bench.executor.executed == ["a"]


def test_replay_is_asked_for_before_it_is_sent() -> None:
    bench = outside(max_deliveries=1)
    (entry_id,) = bench.submit("a")
    bench.executor.instead["a"] = raising(ValueError("boom"))
    (buried,) = bench.handle_next()
    venue_of(bench).book["a"] = filled(order("a", price=None))
    bench.stream.add(*flat(order_id="a", replay_of=entry_id))

    (outcome,) = bench.handle_next()

    assert isinstance(buried, Dead)
    assert isinstance(outcome, Settled)
    assert bench.executor.executed == ["a"]
    assert bench.rows["a"].status is Status.FILLED


def test_replay_that_the_venue_does_not_know_is_sent_under_a_submitted_row() -> None:
    bench = outside(max_deliveries=1)
    (entry_id,) = bench.submit("a")
    bench.executor.instead["a"] = raising(ValueError("boom"))
    bench.handle_next()
    seen: list[tuple[Status, str]] = []

    def look(made: Order) -> Execution:
        seen.append((bench.rows["a"].status, bench.rows["a"].entry_id))
        return filled(made)

    bench.executor.instead["a"] = look
    replay = bench.stream.add(*flat(order_id="a", replay_of=entry_id))

    bench.handle_next()

    assert seen == [(Status.SUBMITTED, replay)]
    assert venue_of(bench).asked == ["a", "a"]


def test_order_is_sent_as_its_row_says_when_limits_were_lowered_since() -> None:
    first = outside()
    first.submit("a", quantity="12345.50")
    first.executor.instead["a"] = raising(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        first.handle_next()
    first.executor.instead.clear()
    second = successor(first)
    # Limits are settings of the next start.
    second.handling._decoder = PreparedDecoder(decoder(digits=Digits(3, 3)))  # noqa: SLF001

    (outcome,) = second.handle_next()

    assert isinstance(outcome, Settled)
    assert second.rows["a"].filled_quantity == Decimal("12345.5")


def test_submitted_order_is_exempt_from_its_age() -> None:
    first = outside(max_order_age_s=5)
    first.submit("a")
    first.executor.instead["a"] = raising(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        first.handle_next()
    first.executor.instead.clear()
    second = successor(first, max_order_age_s=5)

    (outcome,) = second.handle_next()

    assert isinstance(outcome, Settled)
    assert second.rows["a"].status is Status.FILLED


def test_order_that_is_too_old_and_was_never_submitted_is_rejected() -> None:
    bench = outside(max_order_age_s=5)
    bench.submit("a")
    bench.clock.advance(6)

    bench.handle_next()

    assert bench.rows["a"].status is Status.REJECTED
    assert bench.executor.executed == []


@pytest.mark.parametrize(("known", "status"), [(True, Status.FILLED), (False, Status.REJECTED)])
def test_replay_that_is_too_old_is_asked_for_before_it_is_rejected(*, known: bool, status: Status) -> None:
    bench = outside(max_deliveries=1, max_order_age_s=5)
    (entry_id,) = bench.submit("a")
    bench.executor.instead["a"] = raising(ValueError("boom"))
    bench.handle_next()
    if known:
        venue_of(bench).book["a"] = filled(order("a"))
    bench.stream.add(*flat(order_id="a", replay_of=entry_id, timestamp="1600000000"))

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Settled)
    assert bench.rows["a"].status is status
    assert bench.executor.executed == ["a"]


@pytest.mark.parametrize(("known", "status"), [(True, Status.FILLED), (False, Status.REJECTED)])
def test_claimed_order_that_is_too_old_is_asked_for_before_it_is_rejected(
    *, known: bool, status: Status
) -> None:
    """Proves it where its row was lost, so that nothing else tells that it was sent."""
    bench = outside(max_order_age_s=5)
    bench.submit("a")
    bench.orders.read(1, 1)
    bench.clock.advance(LEASE_S + 1)
    if known:
        venue_of(bench).book["a"] = filled(order("a"))

    bench.handle_next()

    assert (bench.rows["a"].status, bench.executor.executed) == (status, [])


def test_answer_in_hand_counts_when_the_row_is_lost_and_the_order_is_too_old_by_then() -> None:
    bench = outside(max_order_age_s=5)
    bench.submit("a")
    taken = bench.intake.take()
    bench.store.faults.plant("resolve")
    with pytest.raises(Outage):
        bench.handling.handle(taken)
    bench.rows.clear()
    bench.clock.advance(6)

    bench.handling.handle(taken_again(taken))

    assert (bench.rows["a"].status, bench.executor.executed) == (Status.FILLED, ["a"])
    assert venue_of(bench).asked == []


def test_venue_that_is_away_is_an_outage_and_costs_nobody_a_delivery() -> None:
    bench = outside()
    bench.submit("a")
    bench.executor.instead["a"] = raising(VenueUnavailable("closed"))

    with pytest.raises(VenueUnavailable):
        bench.handle_next()

    assert bench.rows["a"].status is Status.SUBMITTED


def test_answers_before_an_outage_of_the_venue_are_committed_and_counted_when_it_is_over() -> None:
    bench = outside()
    bench.submit("a", "b")
    taken = bench.intake.take()
    bench.executor.instead["b"] = raising(VenueUnavailable("busy"))
    with pytest.raises(VenueUnavailable):
        bench.handling.handle(taken)
    committed = bench.rows["a"].status
    bench.executor.instead.clear()

    outcomes = bench.handling.handle(taken_again(taken))

    assert committed is Status.FILLED
    assert venue_of(bench).asked == ["b"]
    assert [outcome.answered for outcome in outcomes if isinstance(outcome, Settled)] == [False, False]


def test_answers_that_could_not_be_committed_are_kept_and_not_asked_for_again() -> None:
    bench = outside()
    bench.submit("a")
    taken = bench.intake.take()
    bench.store.faults.plant("resolve")
    with pytest.raises(Outage):
        bench.handling.handle(taken)

    (outcome,) = bench.handling.handle(taken_again(taken))

    assert isinstance(outcome, Settled)
    assert (bench.executor.executed, venue_of(bench).asked) == (["a"], [])


def test_outcome_whose_commit_was_unknown_is_answered_when_the_handling_is_repeated() -> None:
    bench = outside()
    bench.submit("a")
    taken = bench.intake.take()
    bench.store.faults.plant("resolve", reply_lost=True)
    with pytest.raises(Outage):
        bench.handling.handle(taken)

    (outcome,) = bench.handling.handle(taken_again(taken))

    assert outcome == Settled(outcome.delivery, bench.rows["a"], answered=False)
    assert bench.executor.executed == ["a"]


def test_intent_whose_commit_was_unknown_is_asked_for_and_sent_when_nobody_else_can_be_sending_it() -> None:
    bench = outside()
    bench.submit("a")
    taken = bench.intake.take()
    bench.store.faults.plant("record", reply_lost=True)
    with pytest.raises(Outage):
        bench.handling.handle(taken)

    (early,) = bench.handling.handle(taken_again(taken))
    bench.clock.advance(LEASE_S * 4 / 3)
    (outcome,) = bench.handling.handle(taken_again(taken))

    assert isinstance(early, Retry)
    assert isinstance(outcome, Settled)
    assert venue_of(bench).asked == ["a", "a"]
    assert bench.executor.executed == ["a"]


def test_outcome_that_somebody_else_has_written_stands() -> None:
    bench = outside()
    bench.submit("a")
    other = Execution(Status.REJECTED, error_message="said to somebody else")

    def meanwhile(made: Order) -> Execution:
        bench.store.resolve([replaced(bench, other)])
        return filled(made)

    bench.executor.instead["a"] = meanwhile

    (outcome,) = bench.handle_next()

    assert outcome == Settled(outcome.delivery, bench.rows["a"], answered=True)
    assert bench.rows["a"].error_message == "said to somebody else"


def test_order_whose_lease_is_lost_before_its_turn_is_not_sent() -> None:
    bench = outside()
    entry_ids = bench.submit("a", "b", "c")
    taken = bench.intake.take()

    def steal_the_next(made: Order) -> Execution:
        assert bench.stream.group is not None
        bench.stream.group.pending[entry_ids[1]].consumer = "somebody else"
        bench.lease.renew()
        return filled(made)

    bench.executor.instead["a"] = steal_the_next

    outcomes = bench.handling.handle(taken)

    assert bench.executor.executed == ["a", "c"]
    assert [outcome.record.order_id for outcome in outcomes if isinstance(outcome, Settled)] == ["a", "c"]
    assert bench.rows["b"].status is Status.SUBMITTED


@pytest.mark.parametrize("slept_s", [LEASE_S + 1, LEASE_S - 1])
def test_process_that_slept_asks_for_its_lease_before_it_sends_what_could_outlast_it(slept_s: float) -> None:
    bench = outside()
    entry_ids = bench.submit("a", "b")
    taken = bench.intake.take()

    def sleep(made: Order) -> Execution:
        assert bench.stream.group is not None
        bench.stream.group.pending[entry_ids[1]].consumer = "somebody else"
        bench.clock.advance(slept_s)
        return filled(made)

    bench.executor.instead["a"] = sleep

    bench.handling.handle(taken)

    assert bench.executor.executed == ["a"]


def test_outcome_of_an_order_whose_lease_was_lost_while_it_was_sent_is_left_to_the_new_owner() -> None:
    bench = outside()
    (entry_id,) = bench.submit("a")
    taken = bench.intake.take()

    def stolen(made: Order) -> Execution:
        assert bench.stream.group is not None
        bench.stream.group.pending[entry_id].consumer = "somebody else"
        bench.lease.renew()
        return filled(made)

    bench.executor.instead["a"] = stolen

    outcomes = bench.handling.handle(taken)

    assert outcomes == []
    assert bench.rows["a"].status is Status.SUBMITTED


def test_pure_executor_never_publishes_a_submitted_row_and_never_executes_it() -> None:
    first = outside()
    first.submit("a")
    dies(first, "resolve")
    first.clock.advance(LEASE_S + 1)
    pure = Bench(first.stream, first.store.table, consumer="worker-2")

    (outcome,) = pure.handle_next()

    assert isinstance(outcome, Retry)
    assert "was submitted by an executor with find" in outcome.error
    assert pure.executor.executed == []


def test_pure_executor_that_meets_a_submitted_row_as_if_for_the_first_time_tries_again() -> None:
    first = outside()
    first.submit("a")
    dies(first, "resolve")
    first.stream.group = None
    first.stream.make_group()
    pure = Bench(first.stream, first.store.table, consumer="worker-2")

    (outcome,) = pure.handle_next()

    assert isinstance(outcome, Retry)
    assert pure.rows["a"].status is Status.SUBMITTED


def test_executor_is_watched_while_it_sends_and_while_it_is_asked() -> None:
    first = outside()
    first.submit("a")
    first.executor.instead["a"] = raising(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        first.handle_next()
    first.executor.instead.clear()
    second = successor(first)

    second.handle_next()

    assert second.executing == ["a", None, "a", None]


def test_partial_fill_is_recorded_as_it_was_answered() -> None:
    bench = outside()
    bench.submit("a", quantity="2")
    fill = trade(quantity=Decimal("0.5"))
    bench.executor.instead["a"] = lambda _: Execution(Status.FILLED, Decimal("0.5"), Decimal(100), (fill,))

    bench.handle_next()

    assert (bench.rows["a"].quantity, bench.rows["a"].filled_quantity) == (Decimal(2), Decimal("0.5"))


def taken_again(taken: list[Delivery]) -> list[Delivery]:
    """What is in hand after an outage: nothing of it is charged."""
    return [replace(each, count=each.count_before, charged=False) for each in taken]


def replaced(bench: Bench, execution: Execution) -> OrderRecord:
    row = bench.rows["a"]
    return record_execution(order("a", entry_id=row.entry_id), execution, row.executed_at)
