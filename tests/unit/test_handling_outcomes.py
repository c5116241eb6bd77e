"""What becomes of an entry: the table of the contract, row by row, up to the outcome."""

from decimal import Decimal

from tests.builders import flat
from tests.fakes import Bench
from worker.domain.deliveries import Dead, Duplicate, Settled
from worker.domain.errors import VenueUnavailable
from worker.domain.orders import Execution, Order, Status, Trade


def test_sound_order_is_executed_and_recorded_with_its_trade() -> None:
    bench = Bench()
    (entry_id,) = bench.submit("a", quantity="0.25", price="8")

    (outcome,) = bench.handle_next()

    row = bench.rows["a"]
    assert outcome == Settled(outcome.delivery, row, answered=False)
    assert (row.entry_id, row.status, row.filled_quantity) == (entry_id, Status.FILLED, Decimal("0.25"))
    assert [trade.quantity for trade in row.trades] == [Decimal("0.25")]
    assert bench.executor.executed == ["a"]


def test_order_without_an_id_is_recorded_under_its_place_on_the_stream() -> None:
    bench = Bench()
    entry_id = bench.stream.add(*flat())

    bench.handle_next()

    assert bench.rows.keys() == {f"orders:{entry_id}"}


def test_order_that_breaks_a_business_rule_is_rejected_without_execution() -> None:
    bench = Bench()
    bench.submit("a", quantity="0", side="HOLD")

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Settled)
    row = bench.rows["a"]
    assert row.status is Status.REJECTED
    assert row.error_message == "side is neither BUY nor SELL; quantity is not greater than zero"
    assert (row.side, row.quantity, row.filled_quantity) == (None, None, Decimal(0))
    assert bench.executor.executed == []


def test_entry_that_is_no_order_is_dead_at_once_and_leaves_no_row() -> None:
    bench = Bench()
    bench.stream.add(b"payload", b"{truncated")

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Dead)
    assert (outcome.reason, outcome.order_id) == ("undecodable", None)
    assert bench.rows == {}


def test_dead_letter_names_the_order_where_only_its_content_is_junk() -> None:
    bench = Bench()
    bench.submit("a", reason=b"\xff")

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Dead)
    assert outcome.reason == "undecodable"
    assert bench.rows == {}


def test_same_order_in_another_entry_is_a_duplicate() -> None:
    bench = Bench()
    first, _ = bench.submit("a", "a", quantity="1.50")

    outcomes = bench.handle_next()

    assert [type(outcome) for outcome in outcomes] == [Settled, Duplicate]
    assert bench.rows["a"].entry_id == first


def test_retry_with_a_new_timestamp_and_another_spelling_is_a_duplicate() -> None:
    bench = Bench()
    bench.submit("a", quantity="1.50", timestamp="1", reason="first")
    bench.handle_next()
    bench.submit("a", quantity="15e-1", timestamp="2", reason="second", unheard_of="x")

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Duplicate)
    assert bench.rows["a"].labels.timestamp == "1"


def test_same_order_id_with_other_content_is_a_conflict_and_changes_nothing() -> None:
    bench = Bench()
    bench.submit("a", quantity="1")
    bench.handle_next()
    before = bench.rows["a"]
    bench.submit("a", quantity="2")

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Dead)
    assert (outcome.reason, outcome.order_id) == ("conflict", "a")
    assert bench.rows == {"a": before}


def test_conflict_within_one_batch_leaves_the_first_entry_its_order() -> None:
    bench = Bench()
    first = bench.submit("a", quantity="1")[0]
    bench.submit("a", quantity="2")

    settled, dead = bench.handle_next()

    assert isinstance(settled, Settled)
    assert isinstance(dead, Dead)
    assert bench.rows["a"].entry_id == first


def test_committed_order_is_answered_and_not_executed_again_when_its_ack_was_lost() -> None:
    first = Bench()
    first.submit("a")
    first.handle_next()
    first.clock.advance(31)
    second = Bench(first.stream, first.store.table, consumer="worker-2")

    (outcome,) = second.handle_next()

    assert outcome == Settled(outcome.delivery, first.rows["a"], answered=True)
    assert second.executor.executed == []
    assert "charge" not in second.orders.faults.steps


def test_trades_are_recorded_by_id_whatever_order_the_executor_gives_them_in() -> None:
    bench = Bench()
    bench.submit("a", quantity="3", price="8")
    trades = tuple(Trade(name, Decimal(1), Decimal(8), Decimal(0)) for name in ("t-2", "t-3", "t-1"))
    bench.executor.instead["a"] = lambda _: Execution(Status.FILLED, Decimal(3), Decimal(8), trades)

    bench.handle_next()

    assert [trade.trade_id for trade in bench.rows["a"].trades] == ["t-1", "t-2", "t-3"]


def test_executor_that_answers_with_an_error_makes_a_final_error_row() -> None:
    bench = Bench()
    bench.submit("a")
    bench.executor.instead["a"] = lambda _: Execution(Status.ERROR, error_message="no such account")

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Settled)
    assert (bench.rows["a"].status, bench.rows["a"].error_message) == (Status.ERROR, "no such account")


def test_venue_that_is_away_is_an_outage_and_records_nothing() -> None:
    bench = Bench()
    bench.submit("a", "b")
    bench.executor.instead["b"] = _venue_is_away

    try:
        bench.handle_next()
    except VenueUnavailable as outage:
        raised = outage.server
    else:
        raised = "nothing"

    assert raised == "venue"
    assert bench.rows == {}


def test_executor_is_watched_while_it_works_and_only_then() -> None:
    bench = Bench()
    bench.submit("a", "b")
    seen: list[str | None] = []

    def look(order: Order) -> Execution:
        seen.extend(bench.executing)
        return bench.executor.execute_by_default(order)

    bench.executor.instead["b"] = look

    bench.handle_next()

    assert seen == ["a", None, "b"]
    assert bench.executing == ["a", None, "b", None]


def _venue_is_away(_order: Order) -> Execution:
    raise VenueUnavailable("closed for the night")
