"""Rows that can't be read, triggers that raise, entries that strike an error nobody expected.

One is told of, all others go on.
"""

import json
from typing import Any

import psycopg
import pytest

from tests.commands import command
from tests.fleets import delete_marks, has_repaired
from tests.harness import (
    Deployment,
    assert_invariants,
    eventually,
    names_of,
    numbered_orders,
    take_and_vanish,
)
from tests.inprocess import running
from tests.unit.test_server import ask


def execute(deployment: Deployment, statement: str, *parameters: Any) -> None:
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        connection.execute(statement, parameters)


def test_row_that_can_not_be_read_is_set_aside_and_settled_once_it_can(deployment: Deployment) -> None:
    first, *_ = deployment.submit(numbered_orders(1))
    with running(deployment):
        eventually(deployment.all_settled)
    # No driver has a Python datetime for it.
    execute(deployment, "UPDATE orders SET executed_at = 'infinity'")
    deployment.redis.xgroup_setid(deployment.orders, deployment.group, "0")
    deployment.submit(numbered_orders(4)[1:])
    take_and_vanish(deployment, 1)

    with running(deployment, max_deliveries=3, repair_window_s=0) as made:
        eventually(lambda: len(deployment.published()) == 4)
        eventually(lambda: deployment.redis.exists(names_of(deployment, "").set_aside))
        told = json.loads(command(deployment, "status", "--json").stdout)
        assert made.worker.lease.renewing
        execute(deployment, "UPDATE orders SET executed_at = recorded_at WHERE entry_id = %s", first)
        eventually(deployment.all_settled)

    assert "set_aside" in {each["name"] for each in told["verdict"]["conditions"]}
    assert told["redis"]["a_set_aside"] == first
    assert deployment.letters() == []
    assert_invariants(deployment)


def test_page_of_orders_leaves_out_the_row_that_can_not_be_read_and_counts_it(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(3))
    with running(deployment) as made:
        eventually(deployment.all_settled)
        execute(deployment, "UPDATE orders SET executed_at = 'infinity' WHERE order_id = 'order-1'")
        # Until the database was asked first, it counts as away.
        eventually(lambda: ask(made.server.port, "/orders")[0] != 503)
        status, _, body = ask(made.server.port, "/orders")

    shown = json.loads(body)
    assert (status, shown.get("unreadable")) == (200, 1)
    assert [each["order_id"] for each in shown["orders"]] == ["order-2", "order-0"]


@pytest.mark.parametrize("name", ["import-7", "", "18446744073709551616-0"])
def test_row_that_names_no_entry_of_a_stream_is_told_and_costs_no_other_its_repair(
    deployment: Deployment, name: str
) -> None:
    deployment.submit(numbered_orders(3))
    with running(deployment):
        eventually(deployment.all_settled)
    execute(deployment, "UPDATE orders SET entry_id = %s WHERE order_id = 'order-1'", name)
    # What Redis has lost; the row of the order before stands in front of what has to be given back.
    delete_marks(deployment)
    deployment.redis.delete(deployment.results, deployment.orders)

    with running(deployment) as made:
        eventually(lambda: len(deployment.published()) == 2)
        assert has_repaired(deployment, made.names.consumer)
        outages = made.worker.tally.outages
    audited = command(deployment, "audit")
    shown = command(deployment, "show", "order-1")

    assert outages == 0
    assert [each["order_id"] for each in deployment.published()] == ["order-0", "order-2"]
    assert (audited.exit_code, "Traceback" in audited.output) == (1, False)
    assert (shown.exit_code, f"by another entry {name}" in shown.output) == (0, True)
    assert "1 rows name entries that no stream has given" in audited.output
    assert "for one order order-1" in audited.output


def test_batch_that_takes_postgresql_too_long_is_written_in_parts(deployment: Deployment) -> None:
    execute(
        deployment,
        "CREATE FUNCTION dawdles() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$",
    )
    execute(
        deployment, "CREATE TRIGGER dawdles BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION dawdles()"
    )
    # Two seconds for all of them, where a transaction may take half of one.
    deployment.submit(numbered_orders(100))

    with running(deployment, transaction_timeout_s=0.5) as made:
        eventually(deployment.all_settled)

    assert made.worker.tally.outages >= 1
    assert_invariants(deployment, made.worker.tally)


def test_trigger_that_raises_for_one_order_costs_no_other_and_no_replica_anything(
    deployment: Deployment,
) -> None:
    execute(
        deployment,
        "CREATE FUNCTION raises() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.symbol = 'BAD' THEN RAISE EXCEPTION 'not that one'; END IF; RETURN NEW; END $$",
    )
    execute(
        deployment, "CREATE TRIGGER raises BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION raises()"
    )
    first, second, *others = numbered_orders(20)
    deployment.submit([first, second | {"symbol": "BAD"}, *others])

    with running(deployment, max_deliveries=3) as made:
        eventually(deployment.all_settled)

    (letter,) = deployment.letters()
    assert letter["order_id"].decode() == second["order_id"]
    assert b"not that one" in letter["error"]
    assert made.worker.tally.filled + made.worker.tally.rejected == 19
    assert_invariants(deployment, made.worker.tally)
