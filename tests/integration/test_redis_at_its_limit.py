"""A Redis at its maxmemory: what nobody needs is let go, by those who run and by those who start."""

import json
import time

import pytest

from tests.harness import Deployment, eventually, numbered_orders
from tests.inprocess import committing, running
from tests.unit.test_server import ask
from worker.consumer import retention
from worker.repair import Repair

MANY = 2000
KEPT_S = 1


def settle_many(deployment: Deployment) -> None:
    """Leave behind orders, settled and older than they have to be kept, that nobody has let go yet."""
    deployment.submit([{**each, "reason": "r" * 1000} for each in numbered_orders(MANY)])
    with running(deployment, orders_keep_s=3600):
        eventually(deployment.all_settled)
    time.sleep(KEPT_S)


def fill(deployment: Deployment) -> None:
    """Have Redis take nothing more."""
    used = int(deployment.redis.info("memory")["used_memory"])
    deployment.redis.config_set("maxmemory", used - 100_000)


def test_replica_at_work_makes_room_and_settles_what_it_has_in_hand(own_deployment: Deployment) -> None:
    settle_many(own_deployment)
    own_deployment.submit([{**numbered_orders(1)[0], "order_id": "last"}])

    with committing(own_deployment, orders_keep_s=KEPT_S, repair_window_s=1) as (made, pause):
        # Its first turn is over, so all that is left to it is the next one.
        more = numbered_orders(1)[0]
        own_deployment.redis.xadd(own_deployment.orders, more, id="*")  # type: ignore[arg-type]
        fill(own_deployment)
        pause.go_on.set()
        eventually(own_deployment.all_settled, within=40)
        assert made.worker.tally.outages > 0

    assert own_deployment.redis.xlen(own_deployment.orders) < MANY // 2
    assert len(own_deployment.published()) == MANY + 1


def test_replica_that_starts_makes_room_for_itself(own_deployment: Deployment) -> None:
    settle_many(own_deployment)
    fill(own_deployment)

    with running(own_deployment, orders_keep_s=KEPT_S, start_timeout_s=0) as made:
        eventually(lambda: ask(made.server.port, "/ready")[0] == 200)
        own_deployment.submit([{**numbered_orders(1)[0], "order_id": "last"}])
        eventually(own_deployment.all_settled)
        assert json.loads(ask(made.server.port, "/ready")[2])["ready"]

    assert own_deployment.redis.xlen(own_deployment.orders) < MANY // 2
    assert len(own_deployment.published()) == MANY + 1


@pytest.mark.timeout(60)
def test_replica_that_starts_does_not_wait_for_its_repair_where_others_have_made_room(
    own_deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(own_deployment)

    def looks_for_ever(_repair: Repair, *, idle: bool) -> bool:
        own_deployment.redis.config_set("maxmemory", 0)
        return idle

    monkeypatch.setattr(Repair, "go_on", looks_for_ever)
    with running(own_deployment, start_timeout_s=0):
        own_deployment.submit(numbered_orders(1))
        eventually(own_deployment.all_settled)


def test_full_batches_leave_retention_its_turn(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "EVERY_S", 0.1)
    an_hour_ago_ms = time.time_ns() // 1_000_000 - 3_600_000
    orders = numbered_orders(5 * MANY)
    entry_ids = deployment.submit(
        orders, under=[f"{an_hour_ago_ms + number}-0" for number in range(len(orders))]
    )

    with running(deployment, orders_keep_s=KEPT_S, batch_size=20):
        eventually(lambda: deployment.redis.xlen(deployment.orders) < len(orders))
        delivered = deployment.redis.xinfo_groups(deployment.orders)[0]["last-delivered-id"].decode()

    assert delivered in entry_ids[:-1], "it was let go while a batch was waiting at any time"
