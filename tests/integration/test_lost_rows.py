"""Rows that are gone from PostgreSQL though their results were published.

They are told of after an outage, until they are back or accepted.
"""

import json
from typing import Any

import pytest
from sqlalchemy import text

from local import LocalPostgres
from tests.commands import command
from tests.harness import Deployment, eventually, names_of, numbered_orders
from tests.inprocess import running, seen
from worker.repair import lost_rows
from worker.source import registration

ORDERS, LOST = 60, 20
GONE = [f"order-{number}" for number in range(ORDERS - LOST, ORDERS)]


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have replicas of this process notice at once that PostgreSQL was away, and that rows are back."""
    monkeypatch.setattr(lost_rows, "EVERY_S", 0.2)
    monkeypatch.setattr(registration, "EVERY_S", 0.2)


def lose_rows(deployment: Deployment, server: LocalPostgres, order_ids: list[str]) -> None:
    """Take rows away as a promotion does: with an outage after which they are not there."""
    with deployment.database.transaction() as connection:
        for table in ("trades", "orders"):
            gone = text(f"DELETE FROM {table} WHERE order_id = ANY(:gone)")  # noqa: S608  one of two names
            connection.execute(gone, {"gone": order_ids})
    server.kill()
    server.start()
    deployment.database.reconnect()


def told(deployment: Deployment) -> set[str]:
    members: Any = deployment.redis.zrange(names_of(deployment, "").lost_rows, 0, -1)
    return {member.decode().partition(" ")[2] for member in members}


def looks(deployment: Deployment) -> int:
    """How many looks had begun when the one began that ended last."""
    done: Any = deployment.redis.hget(names_of(deployment, "").looks, "done")
    return int(done or 0)


def test_lost_rows_are_told_until_they_are_mended(
    own_deployment: Deployment, own_postgres: LocalPostgres
) -> None:
    own_deployment.submit(numbered_orders(ORDERS))
    with running(own_deployment, batch_size=10) as made:
        eventually(own_deployment.all_settled)
        lose_rows(own_deployment, own_postgres, GONE)

        eventually(lambda: told(own_deployment) == set(GONE))
        eventually(lambda: seen(made.checks.redis, lambda state: state.lost_rows) == LOST)
        status = command(own_deployment, "status", "--json")
        repair = command(own_deployment, "audit", "--repair")
        assert f"{LOST} mended" in repair.output
        eventually(lambda: not told(own_deployment), within=40)

    conditions = json.loads(status.output)["verdict"]["conditions"]
    assert (status.exit_code, conditions[0]["name"]) == (1, "lost_rows")
    assert conditions[0]["command"] == "worker audit --repair"
    assert len(own_deployment.rows()) == len(own_deployment.published()) == ORDERS


@pytest.mark.parametrize("pruned", [False, True], ids=["", "on a day from which rows were pruned"])
def test_replica_tells_at_its_start_what_was_lost_while_none_was_there(
    deployment: Deployment, *, pruned: bool
) -> None:
    deployment.submit(numbered_orders(ORDERS))
    with running(deployment):
        eventually(deployment.all_settled)
    with deployment.database.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM trades WHERE order_id = 'order-59'")
        connection.exec_driver_sql("DELETE FROM orders WHERE order_id = 'order-59'")
        if pruned:
            # No row goes as long as its mark is kept, as this one is.
            counted = "INSERT INTO order_prunings VALUES (%s, (now() AT TIME ZONE 'UTC')::date, 9, 9, now())"
            connection.exec_driver_sql(counted, (deployment.fleet.source,))

    with running(deployment):
        eventually(lambda: told(deployment) == {"order-59"})


def test_rows_that_were_deleted_for_their_age_are_not_told(
    own_deployment: Deployment, own_postgres: LocalPostgres
) -> None:
    own_deployment.submit(numbered_orders(ORDERS))
    with running(own_deployment, batch_size=10):
        eventually(own_deployment.all_settled)
        eventually(lambda: looks(own_deployment))
        before = looks(own_deployment)
        lose_rows(own_deployment, own_postgres, [f"order-{number}" for number in range(LOST)])

        eventually(lambda: looks(own_deployment) > before)

    assert told(own_deployment) == set()


def test_what_has_no_result_or_its_row_is_not_told(deployment: Deployment) -> None:
    """Proves it for entries that are no order, are rejected, come twice, or conflict."""
    order, *_ = numbered_orders(1)
    deployment.submit(
        [order, {**order, "quantity": "0", "order_id": "rejected"}, order, {**order, "side": "?"}]
    )
    deployment.add_raw("payload", "no JSON")
    with running(deployment):
        eventually(deployment.all_settled)
    before = looks(deployment)

    with running(deployment) as made:
        eventually(lambda: looks(deployment) > before)

    assert told(deployment) == set()
    assert (len(deployment.published()), made.worker.tally.unexpected) == (2, 0)


def test_accepted_rows_are_not_told_again(deployment: Deployment) -> None:
    """Proves it for the command that the runbook shows, and a replica that starts later."""
    names = names_of(deployment, "")
    deployment.submit(numbered_orders(ORDERS))
    with running(deployment):
        eventually(deployment.all_settled)
    with deployment.database.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM trades WHERE order_id = 'order-59'")
        connection.exec_driver_sql("DELETE FROM orders WHERE order_id = 'order-59'")
    with running(deployment):
        eventually(lambda: told(deployment) == {"order-59"})
    deployment.redis.rename(names.lost_rows, names.accepted_rows)
    before = looks(deployment)

    with running(deployment):
        eventually(lambda: looks(deployment) > before)

    assert told(deployment) == set()
    assert "lost rows" not in command(deployment, "status").output
