"""Orders live under exactly the rights that the files of deploy/ give."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands import command
from tests.faces import Visitor
from tests.faults.environment.documented import Documented
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders, take_and_vanish
from tests.inprocess import running
from tests.processes import WorkerProcess

HEARS = "hearing the channel"
BRIDGE = (sys.executable, "-m", "worker", "bridge", "--channel", "orders")
# What is asked of a busy machine may take a while.
PATIENT = {"lease_ms": 60_000, "transaction_timeout_s": 20}
ADMIN = "known-to-admins-"
CHANNEL: dict[str, Any] = {"results_channel": "results"}


@pytest.fixture
def operator(migrated: Documented) -> Iterator[Deployment]:
    with migrated.entered("orders-operator", "orders_operator") as made:
        yield made


@pytest.fixture
def worker(migrated: Documented) -> Iterator[Deployment]:
    with migrated.entered("orders-worker", "orders_worker") as made:
        yield made


def run(deployment: Deployment, *arguments: str, code: int = 0, given: str | None = None) -> str:
    done = command(deployment, *arguments, given=given, **CHANNEL, **PATIENT)
    assert done.exit_code == code, done.output
    return done.stdout


def look_at_pages(port: int, letter: str) -> None:
    """Read each page."""
    with Visitor(port) as visitor:
        visitor.sign_in("anna", ADMIN)
        assert "Exactly one result" in visitor.get("/orders/order-1")
        assert "order-1" in visitor.get("/search?status=FILLED")
        assert "refuses" not in visitor.get("/")
        assert letter in visitor.get("/dead?state=all")
        assert "replayed" in visitor.get(f"/dead/{letter}")


def test_whole_life_of_orders_needs_the_rights_of_the_files_and_no_others(
    migrated: Documented, operator: Deployment, worker: Deployment
) -> None:
    administrator = migrated.administrator
    migrated.admit("orders-worker", channel=True)
    migrated.admit("orders-operator", channel=True)
    administrator.redis.acl_log_reset()
    (wrong, *orders) = numbered_orders(20)
    lines = "\n".join(json.dumps(order) for order in [*orders, {**wrong, "type": "limit"}, {"payload": "{"}])

    with running(worker, **CHANNEL):
        run(operator, "submit", "-", given=lines)
        eventually(administrator.all_settled)
        (letter, _), (junk, _) = administrator.entries("orders:dead")
        assert "2 open dead letters" in run(operator, "status", code=1)
        run(operator, "dead", "list")
        run(operator, "dead", "show", letter)
        run(operator, "dead", "replay", letter, "--set", "type=order", "--yes")
        run(operator, "dead", "discard", junk, "--yes")
        eventually(administrator.all_settled)
    administrator.submit([{**wrong, "order_id": "stuck"}])
    take_and_vanish(administrator, 1)
    assert "gone" in run(operator, "pending")
    run(operator, "replay", "--all", "--yes")
    with running(worker, **CHANNEL, admin_token=ADMIN) as made:
        eventually(administrator.all_settled)
        assert "FILLED" in run(operator, "show", "order-1")
        look_at_pages(made.server.port, letter)
    administrator.redis.xtrim("order_results", 5, approximate=False)
    run(operator, "audit", code=1)
    run(operator, "audit", "--repair", "--republish")
    run(operator, "audit")
    run(operator, "status")

    administrator.accepted[:] = [entry_id for entry_id, _ in administrator.entries("orders")]
    assert_invariants(administrator)
    assert len(administrator.published()) == 21
    assert migrated.refused() == set()


def test_bridge_needs_the_rights_of_the_files_and_no_others(migrated: Documented, tmp_path: Path) -> None:
    administrator = migrated.administrator
    administrator.redis.acl_log_reset()

    with migrated.entered("orders-bridge", "nobody") as made:
        bridge = WorkerProcess(made, tmp_path / "log", BRIDGE)
        try:
            eventually(lambda: HEARS in bridge.said)
            # On a channel that is silent it asks whether its connection lives.
            eventually(lambda: "ping" in hearing_last_said(administrator))
            administrator.redis.publish("orders", json.dumps(numbered_orders(1)[0]))
            eventually(lambda: administrator.redis.xlen("orders"))
            assert bridge.drain() == 0
            assert "cut off" not in bridge.said
        finally:
            bridge.end()

    assert migrated.refused() == set()


def hearing_last_said(administrator: Deployment) -> list[str]:
    """Return the last command of each connection that hears a channel."""
    listed: Any = administrator.redis.client_list(_type="pubsub")
    return [each["cmd"] for each in listed]
