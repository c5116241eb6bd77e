"""What only the last version took for an order: answered from its row, never executed or buried again."""

import json

import pytest

from tests.builders import decoder, delivery, record
from tests.fakes import Bench
from worker.domain.deliveries import Dead, Retry, Settled
from worker.domain.evidence import Fate
from worker.domain.orders import OrderRecord, Status, Undecodable, UnsoundOrder
from worker.repair.judgement import of_entry
from worker.wire.fields import fingerprint_of, spelled

# The last version executed it as symbol "1".
CONTENT = json.dumps(
    {"order_id": "a", "symbol": 1, "side": "BUY", "quantity": "0.5", "price": "100"}
).encode()
FINGERPRINT = fingerprint_of(spelled(("1", "BUY", "0.5", "100", None, None, None, None)))


def with_row_of_last_version(**changes: object) -> tuple[Bench, OrderRecord]:
    bench = Bench()
    entry_id = bench.stream.add(b"payload", CONTENT)
    row = record("a", entry_id=entry_id, symbol="1", fingerprint=FINGERPRINT, **changes)
    bench.rows["a"] = row
    return bench, row


def test_order_executed_by_the_last_version_is_answered_when_its_entry_comes_again() -> None:
    first, row = with_row_of_last_version()
    first.intake.take()
    first.clock.advance(31)
    second = Bench(first.stream, first.store.table, consumer="worker-2")

    (outcome,) = second.handle_next()

    assert outcome == Settled(outcome.delivery, row, answered=True)
    assert second.executor.executed == []


def test_order_executed_by_the_last_version_is_answered_when_its_group_was_made_anew() -> None:
    # As new as any other entry, though it has its row.
    bench, row = with_row_of_last_version()

    (outcome,) = bench.handle_next()

    assert outcome == Settled(outcome.delivery, row, answered=True)
    assert bench.executor.executed == []


def test_order_submitted_by_the_last_version_comes_again_to_be_asked_for() -> None:
    bench, _ = with_row_of_last_version(status=Status.SUBMITTED, trades=(), filled_quantity=0)

    (outcome,) = bench.handle_next()

    assert isinstance(outcome, Retry)


def test_entry_that_nobody_took_for_an_order_is_buried_and_costs_one_question() -> None:
    bench = Bench()
    for _ in range(3):
        bench.stream.add(b"payload", CONTENT)

    outcomes = bench.handle_next()

    assert [type(outcome) for outcome in outcomes] == [Dead] * 3
    assert bench.store.faults.steps.count("find") == 1


def test_nothing_is_asked_where_all_are_orders() -> None:
    bench = Bench()
    bench.submit("a", "b")

    bench.handle_next()

    assert "find" not in bench.store.faults.steps


@pytest.mark.parametrize(("fingerprint", "found"), [(FINGERPRINT, False), (b"other", True), (None, True)])
def test_audit_knows_a_retry_that_the_last_version_acked_as_a_duplicate(
    fingerprint: bytes | None, *, found: bool
) -> None:
    decoded = decoder().decode(delivery("7-0", (b"payload", CONTENT)))

    finding = of_entry("7-0", decoded, Fate(), fingerprint, None, "7-0")

    assert isinstance(decoded, Undecodable)
    assert (finding is not None) == found


def test_fingerprint_of_what_decides_stays_as_the_last_version_made_it() -> None:
    content = {"order_id": "a", "symbol": "A", "side": "BUY", "quantity": [1, 1.50], "price": "1"}

    found = decoder().decode(delivery("7-0", (b"payload", json.dumps(content).encode())))

    assert isinstance(found, UnsoundOrder)
    assert found.fingerprint == fingerprint_of(
        spelled(("A", "BUY", '["1", "1.5"]', "1", None, None, None, None))
    )
