"""What an entry may be, each limit to its last byte; all at once, so that none is taken for another."""

import json
import time
from typing import Any

import pytest

from tests.harness import Deployment, eventually, numbered_orders, take_and_vanish
from tests.inprocess import running


def sized(order_id: str, size: int) -> dict[str, str]:
    """An order that is so many bytes large."""
    order = {"order_id": order_id, "symbol": "A", "side": "BUY", "quantity": "1", "reason": ""}
    order["reason"] = "x" * (size - sum(len(name) + len(value) for name, value in order.items()))
    return order


def wide(order_id: str, count: int) -> dict[str, str]:
    """An order of so many fields."""
    order = {"order_id": order_id, "symbol": "A", "side": "BUY", "quantity": "1"}
    return order | {f"more-{number}": "" for number in range(count - len(order))}


def deep(order_id: str, levels: int) -> dict[str, str]:
    """An order in a payload that is nested so deep."""
    more: Any = "x"
    for _ in range(levels - 1):
        more = [more]
    order = {"order_id": order_id, "symbol": "A", "side": "BUY", "quantity": "1", "more": more}
    return {"payload": json.dumps(order)}


def amounting(order_id: str, quantity: str) -> dict[str, str]:
    """An order of a quantity."""
    return {"order_id": order_id, "symbol": "A", "side": "BUY", "quantity": quantity}


ENTRIES = [
    sized("bytes", 3000), sized("bytes-over", 3001),
    wide("fields", 9), wide("fields-over", 10),
    deep("depth", 6), deep("depth-over", 7),
    amounting("integer", "99999"), amounting("integer-over", "100000"),
    amounting("fraction", "0.001"), amounting("fraction-over", "0.0001"),
]  # fmt: skip


@pytest.mark.effect_of(
    max_entry_bytes=3000, max_entry_fields=9, max_entry_depth=6, max_integer_digits=5, max_fraction_digits=3
)
def test_entries_at_each_limit_are_executed_and_beyond_it_refused(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    ids = deployment.submit(ENTRIES)
    names = {
        entry_id: sent.get("order_id", "depth-over") for entry_id, sent in zip(ids, ENTRIES, strict=True)
    }

    with running(deployment, paper_success_rate=1, **tried):
        eventually(deployment.all_settled)

    assert {result["order_id"]: result["status"] for result in deployment.published()} == {
        "bytes": "FILLED",
        "fields": "FILLED",
        "depth": "FILLED",
        "integer": "FILLED",
        "integer-over": "REJECTED",
        "fraction": "FILLED",
        "fraction-over": "REJECTED",
    }
    letters = {names[letter["entry_id"].decode()]: letter for letter in deployment.letters()}
    assert {name: letter["reason"] for name, letter in letters.items()} == {
        "bytes-over": b"too_large",
        "fields-over": b"too_large",
        "depth-over": b"undecodable",
    }
    # What is too large is not kept whole.
    assert {name for name, letter in letters.items() if "orig:payload" not in letter} == {
        "bytes-over",
        "fields-over",
    }
    assert all("sha256" in letters[name] for name in ("bytes-over", "fields-over"))


@pytest.mark.effect_of(batch_bytes=99_999)
def test_entry_beyond_the_bytes_of_a_batch_is_not_brought_from_another_replica(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    large, _ = deployment.submit([sized("large", 100_000), sized("small", 1000)])
    take_and_vanish(deployment, 2)

    with running(deployment, paper_success_rate=1, **tried):
        eventually(deployment.all_settled)

    (letter,) = deployment.letters()
    assert (letter["entry_id"].decode(), letter["reason"]) == (large, b"too_large")
    assert (int(letter["size"]), len(letter["head"]), "sha256" in letter) == (100_000, 1024, False)
    assert [result["order_id"] for result in deployment.published()] == ["small"]


@pytest.mark.effect_of(max_order_age_s=3601)
def test_order_that_is_older_than_is_set_is_rejected(deployment: Deployment, tried: dict[str, Any]) -> None:
    now = int(time.time())
    young, old = numbered_orders(2)
    deployment.submit([{**young, "timestamp": str(now - 1800)}, {**old, "timestamp": str(now - 7200)}])

    with running(deployment, paper_success_rate=1, **tried):
        eventually(deployment.all_settled)

    results = {result["order_id"]: result for result in deployment.published()}
    assert {order_id: result["status"] for order_id, result in results.items()} == {
        "order-0": "FILLED",
        "order-1": "REJECTED",
    }
    assert "at most 3601 s" in results["order-1"]["error_message"]
