"""Who executes, how, and how often it is tried."""

import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Deployment, eventually, numbered_orders, take_and_vanish
from tests.inprocess import running
from tests.unit.test_server import ask
from tests.venue import venue


@pytest.mark.effect_of(executor="venue", venue_url=...)
def test_orders_go_to_the_venue_that_is_set(
    deployment: Deployment, tmp_path: Path, tried: dict[str, Any]
) -> None:
    deployment.submit(numbered_orders(3))

    with (
        venue(tmp_path, deduplicating=False) as at,
        running(deployment, venue_url=at.url, paper_success_rate=0, **tried) as made,
    ):
        eventually(deployment.all_settled)
        assert b'"mode": "venue"' in ask(made.server.port, "/status")[2]
        assert at.book == Counter(f"order-{number}" for number in range(3))

    assert {result["status"] for result in deployment.published()} == {"FILLED"}


@pytest.mark.effect_of(execute_timeout_s=0.31)
def test_silent_venue_is_given_up_within_the_time_of_an_execution(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    deployment.submit(numbered_orders(1))

    def tried_again() -> bool:
        pending: Any = deployment.redis.xpending_range(
            deployment.orders, deployment.group, min="-", max="+", count=1
        )
        return any(each["times_delivered"] > 1 for each in pending)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        # No other time is as short: it is the execution's that ends the request.
        longer: dict[str, Any] = {"transaction_timeout_s": 30, "lease_ms": 60_000, "max_deliveries": 1000}
        with running(deployment, executor="venue", venue_url=url, **longer, **tried):
            eventually(tried_again, within=5)


@pytest.mark.effect_of(paper_success_rate=0.0)
def test_paper_fills_the_share_that_is_set(deployment: Deployment, tried: dict[str, Any]) -> None:
    deployment.submit(numbered_orders(20))

    with running(deployment, **tried):
        eventually(deployment.all_settled)

    assert {result["status"] for result in deployment.published()} == {"REJECTED"}


@pytest.mark.effect_of(paper_latency_ms=410)
def test_paper_takes_its_time_for_each_order(deployment: Deployment, tried: dict[str, Any]) -> None:
    with running(deployment, **tried):
        began = time.monotonic()
        deployment.submit(numbered_orders(2))
        eventually(lambda: len(deployment.published()) == 2)
        took = time.monotonic() - began

    assert took >= 2 * 0.410


@pytest.mark.effect_of(max_deliveries=4)
def test_entry_is_buried_after_as_many_deliveries_as_are_set(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    last_try, too_often = deployment.submit(numbered_orders(2))
    take_and_vanish(deployment, 1, deliveries=3)
    take_and_vanish(deployment, 1, deliveries=4)

    with running(deployment, **tried):
        eventually(deployment.all_settled)

    assert [result["entry_id"] for result in deployment.published()] == [last_try]
    (letter,) = deployment.letters()
    assert (letter["entry_id"].decode(), letter["reason"]) == (too_often, b"poison")


@pytest.mark.effect_of(batch_size=7)
def test_no_more_entries_are_taken_at_once_than_are_set(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    deployment.submit(numbered_orders(30))
    take_and_vanish(deployment, 15, deliveries=0)

    with running(deployment, **tried) as made:
        eventually(deployment.all_settled)

    # Of those that were abandoned 7, 7 and 1; of the others likewise.
    assert made.worker.tally.batches == 6
