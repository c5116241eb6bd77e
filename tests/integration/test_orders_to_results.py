"""The whole path on real servers: what goes in as an order comes out as one row and one result."""

import json
from decimal import Decimal
from typing import Any

import redis

from tests.harness import Deployment, assert_invariants, eventually, numbered_orders, sample_orders
from tests.inprocess import running
from worker.domain.orders import Side, Status


def test_sample_orders_are_all_executed(deployment: Deployment) -> None:
    deployment.submit(sample_orders())

    with running(deployment) as made:
        eventually(deployment.all_settled)

    tally = made.worker.tally
    assert tally.received == tally.filled + tally.rejected == 500
    assert 440 < tally.filled < 500
    assert len(deployment.published()) == 500
    assert_invariants(deployment, made.worker.tally)


def test_order_keeps_its_amounts_exactly(deployment: Deployment) -> None:
    deployment.submit(
        [
            {
                "symbol": "PEPEUSDT",
                "side": "buy",
                "quantity": "34727465.10480124",
                "price": "7.198913e-06",
                "order_id": "A",
            }
        ]
    )

    with running(deployment, paper_success_rate=1):
        eventually(deployment.all_settled)

    row = deployment.rows()["A"]
    assert row.status is Status.FILLED
    assert (row.side, row.quantity, row.price) == (
        Side.BUY,
        Decimal("34727465.10480124"),
        Decimal("0.000007198913"),
    )
    assert deployment.published()[0]["quantity"] == "34727465.10480124"
    assert_invariants(deployment)


def test_payload_form_is_the_same_order_as_the_flat_form(deployment: Deployment) -> None:
    order = {**sample_orders()[0], "order_id": "twice"}
    deployment.submit([order])
    deployment.add_raw("payload", json.dumps(order))

    with running(deployment) as made:
        eventually(deployment.all_settled)

    assert made.worker.tally.duplicate == 1
    assert len(deployment.published()) == 1
    assert_invariants(deployment)


def test_order_without_id_is_known_by_its_entry(deployment: Deployment) -> None:
    (entry_id,) = deployment.submit([sample_orders()[0]])

    with running(deployment):
        eventually(deployment.all_settled)

    (result,) = deployment.published()
    assert result["order_id"] == f"{deployment.fleet.source}:{entry_id}"
    assert result["entry_id"] == entry_id


def test_unsound_order_is_rejected_with_a_row_and_a_result(deployment: Deployment) -> None:
    deployment.submit(
        [{"symbol": "'; DROP TABLE orders;--", "side": "HOLD", "quantity": "0", "order_id": "bad"}]
    )

    with running(deployment):
        eventually(deployment.all_settled)

    (result,) = deployment.published()
    assert result["status"] == "REJECTED"
    assert "symbol" not in result
    assert "quantity is not greater than zero" in result["error_message"]
    assert_invariants(deployment)


def test_undecodable_entry_is_buried_byte_for_byte(deployment: Deployment) -> None:
    deployment.add_raw("symbol", b"\xff\x00", "note", "a", "side", "BUY", "quantity", b"\x80")

    with running(deployment):
        eventually(deployment.all_settled)

    ((_, pairs),) = deployment.entries(deployment.dead_letters)
    assert dict(pairs)["reason"] == b"undecodable"
    assert [pair for pair in pairs if pair[0].startswith("orig:")] == [
        ("orig:symbol", b"\xff\x00"),
        ("orig:note", b"a"),
        ("orig:side", b"BUY"),
        ("orig:quantity", b"\x80"),
    ]
    assert_invariants(deployment)


def test_retry_is_a_duplicate_and_other_content_a_conflict(deployment: Deployment) -> None:
    first, *_ = numbered_orders(1)
    deployment.submit([first, {**first, "timestamp": "1"}, {**first, "quantity": "99"}])

    with running(deployment) as made:
        eventually(deployment.all_settled)

    assert (made.worker.tally.duplicate, made.worker.tally.dead) == (1, 1)
    assert [letter["reason"] for letter in deployment.letters()] == [b"conflict"]
    assert_invariants(deployment, made.worker.tally)


def test_result_is_also_published_to_a_channel_when_one_is_set(deployment: Deployment) -> None:
    with redis.Redis.from_url(deployment.servers.redis_url) as client:
        listener = client.pubsub()
        listener.subscribe(deployment.key("copies"))
        listener.get_message(timeout=5)
        deployment.submit(numbered_orders(1))

        with running(deployment, results_channel=deployment.key("copies")):
            eventually(deployment.all_settled)

        message = listener.get_message(timeout=5)
        listener.close()
    assert message is not None
    assert json.loads(message["data"]) == deployment.published()[0]


def test_two_replicas_share_the_stream_without_doubling(deployment: Deployment) -> None:
    orders = numbered_orders(2000)
    deployment.submit(orders)
    deployment.submit(orders[::10])

    # Leases that last: what a slow replica loses, both have received.
    lasting: dict[str, Any] = {"batch_size": 50, "lease_ms": 60_000}
    with running(deployment, **lasting) as one, running(deployment, **lasting) as other:
        eventually(deployment.all_settled)

    assert one.worker.tally.received + other.worker.tally.received == 2200
    assert_invariants(deployment, one.worker.tally, other.worker.tally)
