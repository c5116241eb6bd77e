"""Waits, leases, and how long things are kept."""

import json
import time
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from tests.aging import executed_long_ago
from tests.harness import Deployment, eventually, numbered_orders, take_and_vanish
from tests.inprocess import running
from worker.bootstrap.parts import questions
from worker.consumer import retention
from worker.domain.times import utc_text_of_ms
from worker.pruning import own_turn

MINUTE_MS = 60_000


class Asking:
    """Notes what the loop asks of the stream when it reads."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.reads: set[tuple[int, int]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def read(self, count: int, block_ms: int) -> Any:
        self.reads.add((count, block_ms))
        return self._inner.read(count, block_ms)


@pytest.mark.effect_of(block_ms=123)
def test_read_waits_as_long_as_is_set(deployment: Deployment, tried: dict[str, Any]) -> None:
    asking: list[Asking] = []

    def asked(inner: Any) -> Asking:
        asking.append(Asking(inner))
        return asking[0]

    # The next scan, a quarter of a lease away, does not shorten it.
    with running(deployment, wrap_stream=asked, lease_ms=40_000, batch_size=7, **tried):
        eventually(lambda: (7, 123) in asking[0].reads)

    assert max(block_ms for _, block_ms in asking[0].reads) == 123


@pytest.mark.effect_of(lease_ms=61_000)
def test_entry_is_claimed_once_it_was_idle_for_the_lease_that_is_set(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    client = deployment.redis
    held, abandoned = deployment.submit(numbered_orders(2))
    client.xgroup_create(deployment.orders, deployment.group, "0")
    client.xreadgroup(deployment.group, "gone", {deployment.orders: ">"})
    for entry_id, idle in ((held, 45_000), (abandoned, 62_000)):
        client.xclaim(deployment.orders, deployment.group, "gone", 0, [entry_id], idle=idle, justid=True)

    with running(deployment, **tried):
        eventually(deployment.published)

        (result,) = deployment.published()
        assert result["entry_id"] == abandoned
        left: Any = client.xpending_range(deployment.orders, deployment.group, min="-", max="+", count=9)
        assert [(each["message_id"].decode(), each["consumer"]) for each in left] == [(held, b"gone")]


@pytest.mark.effect_of(lease_ms=1001)
def test_abandoned_entries_are_looked_for_several_times_in_the_lease_that_is_set(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    deployment.submit(numbered_orders(1))
    take_and_vanish(deployment, 1)
    # Not claimable yet when the replica first looks.
    deployment.redis.xclaim(
        deployment.orders, deployment.group, "gone", 0, [deployment.accepted[0]], idle=1, justid=True
    )

    with running(deployment, **tried):
        eventually(deployment.all_settled, within=5)


@pytest.mark.effect_of(transaction_timeout_s=0.4)
def test_loop_and_checks_give_up_a_transaction_after_the_time_that_is_set(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    longer: dict[str, Any] = {"execute_timeout_s": 45, "drain_timeout_s": 46, "lease_ms": 50_000}

    with running(deployment, **longer, **tried) as made:
        eventually(lambda: made.checks.database.last.connected)
        with psycopg.connect(deployment.database_url) as locking:
            locking.execute("LOCK TABLE orders, trades IN ACCESS EXCLUSIVE MODE")
            deployment.submit(numbered_orders(1))
            eventually(lambda: made.worker.outage is not None, within=5)
            eventually(lambda: not made.checks.database.last.connected, within=5)
        eventually(deployment.all_settled)


@pytest.mark.effect_of(orders_keep_s=3602)
def test_settled_orders_are_trimmed_once_they_are_as_old_as_is_set(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    now_ms = int(time.time() * 1000)
    young, old = f"{now_ms - 30 * MINUTE_MS}-0", f"{now_ms - 120 * MINUTE_MS}-0"
    for entry_id, order in zip((old, young), numbered_orders(2), strict=True):
        deployment.redis.xadd(deployment.orders, order, id=entry_id)  # type: ignore[arg-type]

    with running(deployment, **tried):
        eventually(lambda: deployment.redis.xlen(deployment.orders) == 1)

    assert [entry_id for entry_id, _ in deployment.entries(deployment.orders)] == [young]


@pytest.mark.effect_of(results_maxlen=130)
def test_results_are_trimmed_to_no_less_than_is_set(deployment: Deployment, tried: dict[str, Any]) -> None:
    # None goes that a repair may still look for.
    old_ms = int(time.time() * 1000) - 60 * MINUTE_MS
    with deployment.redis.pipeline() as pipeline:
        for number in range(500):
            pipeline.xadd(deployment.results, {"number": number}, id=f"{old_ms}-{number}")
        pipeline.execute()

    with running(deployment, **tried):
        # Whole nodes are trimmed, of a hundred entries unless the server was told otherwise.
        eventually(lambda: deployment.redis.xlen(deployment.results) < 250)

    assert deployment.redis.xlen(deployment.results) >= 130


@pytest.mark.effect_of(letters_keep_s=3605)
def test_closed_dead_letters_go_at_the_age_that_is_set(deployment: Deployment, tried: dict[str, Any]) -> None:
    ids = [f"1-{number}" for number in range(3)]
    for letter_id in ids:
        deployment.redis.xadd(deployment.dead_letters, {"entry_id": "1-1"}, id=letter_id)
    for letter_id, minutes in zip(ids, (120, 30), strict=False):
        at = utc_text_of_ms(int(time.time() * 1000) - minutes * MINUTE_MS)
        state = json.dumps({"state": "discarded", "by": "me", "at": at})
        deployment.redis.hset(f"{deployment.dead_letters}:state", letter_id, state)

    with running(deployment, **tried):
        eventually(lambda: deployment.redis.xlen(deployment.dead_letters) < 3)

    assert [letter_id for letter_id, _ in deployment.entries(deployment.dead_letters)] == ids[1:]


@pytest.mark.usefixtures("marks_go_at_once")
@pytest.mark.effect_of(rows_keep_s=172_801, dedupe_window_s=86_402)
def test_rows_go_at_the_age_that_is_set_but_none_within_the_window_of_duplicates(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tried: dict[str, Any]
) -> None:
    for module in (retention, own_turn):
        monkeypatch.setattr(module, "EVERY_S", 0.05)
    executed_long_ago(deployment, numbered_orders(3))
    hours_ago = {"order-1": 47, "order-2": 49}
    aged = "UPDATE orders SET recorded_at = now() - make_interval(hours => :by) WHERE order_id = :it"
    with deployment.database.transaction() as connection:
        for order_id, hours in hours_ago.items():
            connection.execute(text(aged), {"by": hours, "it": order_id})

    with running(deployment, **tried):
        eventually(lambda: len(deployment.rows()) == 2)
    kept = deployment.rows().keys()
    with running(deployment, **{**tried, "rows_keep_s": 1}):
        eventually(lambda: len(deployment.rows()) == 1)
    with running(deployment, rows_keep_s=1, dedupe_window_s=1_000_000):
        deployment.submit(numbered_orders(5)[4:])
        eventually(deployment.all_settled)

    assert kept == {"order-1", "young"}
    assert deployment.rows().keys() == {"young", "order-4"}


@pytest.mark.effect_of(repair_window_s=3603)
def test_replica_gives_back_at_its_start_what_was_committed_within_the_time_that_is_set(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    deployment.submit(numbered_orders(2))
    with running(deployment):
        eventually(deployment.all_settled)
    deployment.redis.delete(*deployment.all_keys())
    with deployment.database.transaction() as connection:
        for order_id, minutes in (("order-0", 120), ("order-1", 30)):
            connection.execute(
                text(
                    "UPDATE orders SET recorded_at = now() - make_interval(mins => :minutes)"
                    " WHERE order_id = :id"
                ),
                {"minutes": minutes, "id": order_id},
            )

    with running(deployment, **tried):
        # The stream has lost its token, too, and looks like a second one for a while.
        eventually(
            lambda: deployment.redis.exists(f"{deployment.orders}:repaired:{deployment.group}"), within=60
        )

    assert [result["order_id"] for result in deployment.published()] == ["order-1"]


@pytest.mark.effect_of(idle_check_s=3.1)
def test_replica_that_has_nothing_to_do_asks_postgresql_as_seldom_as_is_set(
    deployment: Deployment, tried: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "IDLE_AFTER_S", 0.5)
    with running(deployment, **tried) as made:
        eventually(lambda: made.checks.database.last.connected)
        eventually(lambda: made.worker.life.idle_s > 1)
        asked_redis, asked_database = set[float](), set[float]()

        def looked_on() -> bool:
            asked_redis.add(made.checks.redis.last.at)
            asked_database.add(made.checks.database.last.at)
            return len(asked_redis) == 16

        eventually(looked_on, within=60)

    # Redis is asked each second; ten seconds are the default.
    assert 4 <= len(asked_database) <= 7
