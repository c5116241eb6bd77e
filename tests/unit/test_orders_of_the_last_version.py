"""What only the last version took for an order: answered from its row, never executed or buried again."""

import json
from hashlib import sha256

import pytest

from tests.builders import decoder, delivery, record
from tests.fakes import Bench
from worker.domain.deliveries import Dead, Retry, Settled
from worker.domain.evidence import Fate, StandingRow
from worker.domain.orders import Order, OrderRecord, Status, Undecodable, UnsoundOrder
from worker.repair.judgement import of_entry
from worker.wire.fingerprints import fingerprint_of

# The last version executed it as symbol "1".
CONTENT = json.dumps(
    {"order_id": "a", "symbol": 1, "side": "BUY", "quantity": "0.5", "price": "100"}
).encode()
FINGERPRINT = fingerprint_of({"symbol": "1", "side": "BUY", "quantity": "0.5", "price": "100"})


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

    standing = None if fingerprint is None else StandingRow("6-0", fingerprint)
    finding = of_entry("7-0", decoded, Fate(), standing, None, "7-0")

    assert isinstance(decoded, Undecodable)
    assert (finding is not None) == found


def test_fingerprint_of_what_decides_stays_as_the_last_version_made_it() -> None:
    content = {"order_id": "a", "symbol": "A", "side": "BUY", "quantity": [1, 1.50], "price": "1"}

    found = decoder().decode(delivery("7-0", (b"payload", json.dumps(content).encode())))

    assert isinstance(found, UnsoundOrder)
    assert found.fingerprint == fingerprint_of(
        {"symbol": "A", "side": "BUY", "quantity": '["1", "1.5"]', "price": "1"}
    )


def test_fingerprint_is_made_of_what_decides_and_of_three_labels_as_the_last_version_made_it() -> None:
    content = {
        "type": "order",
        "order_id": "a",
        "symbol": "A/B",
        "side": "sell",
        "quantity": "0.50",
        "price": "1e2",
        "stop_loss_pct": "2",
        "signal_id": "signal",
        "reason": "why",
        "timestamp": "now",
        "strategy_id": "s",
        "bot_id": "",
    }

    found = decoder().decode(delivery("7-0", (b"payload", json.dumps(content).encode())))

    spelling = b"=A/B\0=SELL\0=0.5\0=100\0=2\0=s\0=\0-"
    assert isinstance(found, Order)
    assert found.fingerprint == b"\x01" + sha256(spelling).digest()
