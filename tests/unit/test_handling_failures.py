"""What is charged when, and who is given up: executors that raise, deliveries that take the process down."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.builders import filled, flat, trade
from tests.fakes import Bench
from worker.domain.deliveries import Dead, Outcome, Retry, Settled
from worker.domain.orders import Execution, Order, Status

MAX_DELIVERIES = 3


def raising(text: str) -> Callable[[Order], Execution]:
    def execute(_order: Order) -> Execution:
        raise ValueError(text)

    return execute


def handle_retry(bench: Bench, retry: Outcome) -> list[Outcome]:
    assert isinstance(retry, Retry)
    bench.intake.postpone(retry.delivery)
    bench.clock.advance(20)
    return bench.handle_next()


def died_with_it(bench: Bench, entry_id: str, *, times: int) -> None:
    """Leave an entry pending as processes do that die while they execute it."""
    assert bench.stream.group is not None
    bench.stream.group.pending[entry_id].count = times
    bench.clock.advance(31)


def test_executor_that_raises_is_tried_again_and_leaves_its_neighbours_alone() -> None:
    bench = Bench(max_deliveries=MAX_DELIVERIES)
    bench.submit("a", "b", "c")
    bench.executor.instead["b"] = raising("boom")

    retry, *others = bench.handle_next()

    assert isinstance(retry, Retry)
    assert retry.error == "ValueError: boom"
    assert (retry.delivery.count, retry.delivery.charged) == (1, False)
    assert all(isinstance(outcome, Settled) for outcome in others)
    assert bench.rows.keys() == {"a", "c"}


def test_order_is_filled_when_the_executor_raised_only_once() -> None:
    bench = Bench(max_deliveries=MAX_DELIVERIES)
    bench.submit("a")
    bench.executor.instead["a"] = raising("boom")
    (retry,) = bench.handle_next()
    bench.executor.instead.clear()

    (outcome,) = handle_retry(bench, retry)

    assert isinstance(outcome, Settled)
    assert outcome.delivery.count == 2


def test_executor_that_raises_to_the_last_commits_a_dead_row_and_then_a_letter() -> None:
    bench = Bench(max_deliveries=MAX_DELIVERIES)
    (entry_id,) = bench.submit("a")
    bench.executor.instead["a"] = raising("boom")

    (first,) = bench.handle_next()
    (second,) = handle_retry(bench, first)
    (last,) = handle_retry(bench, second)

    assert isinstance(last, Dead)
    assert (last.reason, last.error, last.order_id) == ("failed", "ValueError: boom", "a")
    assert bench.rows["a"].status is Status.DEAD
    assert bench.rows["a"].entry_id == entry_id
    assert bench.executor.executed == ["a"] * MAX_DELIVERIES


def test_charge_is_written_before_the_execution_begins() -> None:
    bench = Bench()
    (entry_id,) = bench.submit("a")
    bench.orders.read(1, 1)
    died_with_it(bench, entry_id, times=1)
    counts: list[int] = []

    def look(order: Order) -> Execution:
        counts.append(_count(bench, entry_id))
        return bench.executor.execute_by_default(order)

    bench.executor.instead["a"] = look

    bench.handle_next()

    assert counts == [2]


def test_inbox_is_asked_before_anything_is_charged() -> None:
    bench = Bench()
    (entry_id,) = bench.submit("a")
    bench.orders.read(1, 1)
    died_with_it(bench, entry_id, times=1)
    order_of_steps: list[str] = []
    bench.orders.faults.on_step = order_of_steps.append
    bench.store.faults.on_step = order_of_steps.append

    bench.handle_next()

    assert [step for step in order_of_steps if step in {"find", "fetch", "record"}] == [
        "find",
        "fetch",
        "record",
    ]


@pytest.mark.parametrize("deaths", range(1, MAX_DELIVERIES))
def test_delivery_below_the_limit_is_executed_again(deaths: int) -> None:
    bench = Bench(max_deliveries=MAX_DELIVERIES)
    (entry_id,) = bench.submit("a")
    bench.orders.read(1, 1)
    died_with_it(bench, entry_id, times=deaths)

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Settled)
    assert bench.executor.executed == ["a"]


def test_delivery_at_the_limit_is_poison_and_is_not_executed() -> None:
    bench = Bench(max_deliveries=MAX_DELIVERIES)
    (entry_id,) = bench.submit("a")
    bench.orders.read(1, 1)
    died_with_it(bench, entry_id, times=MAX_DELIVERIES)

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Dead)
    assert (outcome.reason, outcome.order_id) == ("poison", "a")
    assert bench.rows["a"].status is Status.DEAD
    assert bench.executor.executed == []


def test_committed_order_is_answered_and_never_poison_however_often_it_was_charged() -> None:
    bench = Bench(max_deliveries=MAX_DELIVERIES)
    (entry_id,) = bench.submit("a")
    bench.handle_next()
    died_with_it(bench, entry_id, times=MAX_DELIVERIES + 4)
    bench.put_down(entry_id)

    (outcome,) = bench.handle_next()

    assert outcome == Settled(outcome.delivery, bench.rows["a"], answered=True)


def test_order_that_a_zombie_commits_meanwhile_is_answered_and_not_poison() -> None:
    zombie = Bench()
    (entry_id,) = zombie.submit("a")
    zombie.handle_next()
    bench = Bench(zombie.stream, consumer="worker-2", max_deliveries=MAX_DELIVERIES)
    died_with_it(bench, entry_id, times=MAX_DELIVERIES)
    just_before_record(bench, lambda: bench.rows.update(zombie.rows))

    (outcome,) = bench.handle_next()

    assert outcome == Settled(outcome.delivery, zombie.rows["a"], answered=True)


def test_poison_that_is_no_order_gets_a_row_of_its_own() -> None:
    bench = Bench(max_deliveries=MAX_DELIVERIES)
    entry_id = bench.stream.add(b"payload", b"[" * 100)
    bench.orders.read(1, 1)
    died_with_it(bench, entry_id, times=MAX_DELIVERIES)

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Dead)
    assert (outcome.reason, outcome.order_id) == ("poison", f"orders:{entry_id}")
    assert bench.rows[f"orders:{entry_id}"].status is Status.DEAD


def test_dead_row_gives_the_same_letter_again_when_the_first_never_got_out() -> None:
    first = Bench(max_deliveries=MAX_DELIVERIES)
    (entry_id,) = first.submit("a")
    first.orders.read(1, 1)
    died_with_it(first, entry_id, times=MAX_DELIVERIES)
    (never_settled,) = first.handle_next()
    first.clock.advance(31)
    second = Bench(first.stream, first.store.table, consumer="worker-2", max_deliveries=MAX_DELIVERIES)

    (outcome,) = second.handle_next()

    assert isinstance(never_settled, Dead)
    assert isinstance(outcome, Dead)
    assert (outcome.reason, outcome.error) == (never_settled.reason, never_settled.error)


def test_duplicate_of_an_order_that_was_given_up_is_not_executed() -> None:
    bench = Bench(max_deliveries=MAX_DELIVERIES)
    (entry_id,) = bench.submit("a")
    bench.orders.read(1, 1)
    died_with_it(bench, entry_id, times=MAX_DELIVERIES)
    bench.handle_next()
    bench.stream.add(*flat(order_id="a"))

    (outcome,) = bench.handle_next()

    assert not isinstance(outcome, Settled)
    assert bench.rows["a"].status is Status.DEAD


@pytest.mark.parametrize("status", [Status.DEAD, Status.SUBMITTED])
def test_executor_that_answers_with_a_status_of_ours_has_failed(status: Status) -> None:
    bench = Bench(max_deliveries=MAX_DELIVERIES)
    bench.submit("a")
    bench.executor.instead["a"] = lambda _: Execution(status)

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Retry)
    assert bench.rows == {}


def test_executor_that_answers_with_a_trade_id_that_no_index_can_hold_has_failed() -> None:
    bench = Bench(max_deliveries=MAX_DELIVERIES)
    bench.submit("a", "b")
    bench.executor.instead["a"] = lambda made: _filled_by(made, "x" * 129)
    bench.executor.instead["b"] = lambda made: _filled_by(made, "x" * 128)

    retry, settled = sorted(bench.handle_next(), key=lambda outcome: isinstance(outcome, Settled))

    assert isinstance(retry, Retry)
    assert (
        retry.error
        == "ValueError: the executor returned what can't be: a trade_id is longer than 128 characters"
    )
    assert isinstance(settled, Settled)
    assert bench.rows.keys() == {"b"}


def test_execution_that_can_not_be_one_of_the_order_is_never_committed() -> None:
    """Proves that FILLED without trades, which no constraint of the table refuses, is never published."""
    bench = Bench(max_deliveries=1)
    bench.submit("a", "b")
    bench.executor.instead["a"] = lambda made: replace(filled(made), trades=())

    outcomes = bench.handle_next()

    assert {type(outcome) for outcome in outcomes} == {Dead, Settled}
    (dead,) = (outcome for outcome in outcomes if isinstance(outcome, Dead))
    assert "the executor returned what can't be: filled_quantity is" in dead.error
    assert bench.rows["b"].status is Status.FILLED
    assert bench.rows["a"].status is Status.DEAD


def test_executor_that_answers_with_nonsense_has_failed() -> None:
    bench = Bench(max_deliveries=MAX_DELIVERIES)
    bench.submit("a", "b")
    bench.executor.instead["a"] = lambda _: None  # type: ignore[return-value,assignment]

    outcomes = bench.handle_next()

    assert {type(outcome) for outcome in outcomes} == {Retry, Settled}


def test_error_text_of_an_executor_is_kept_storable() -> None:
    bench = Bench(max_deliveries=1)
    bench.submit("a")
    bench.executor.instead["a"] = raising("half \ud800, NUL \0 " + "x" * 5000)

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Dead)
    assert outcome.error.startswith("ValueError: half ?, NUL ? xxx")
    assert len(bench.rows["a"].error_message or "") == 1000


def just_before_record(bench: Bench, act: Callable[[], None]) -> None:
    bench.store.faults.on_step = lambda step: act() if step == "record" else None


def _count(bench: Bench, entry_id: str) -> int:
    assert bench.stream.group is not None
    return bench.stream.group.pending[entry_id].count


def _filled_by(order: Order, trade_id: str) -> Execution:
    return replace(filled(order), trades=(trade(trade_id, quantity=order.quantity),))
