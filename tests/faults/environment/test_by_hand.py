"""What somebody does to the streams by hand while replicas work, and what brings back what was lost by it."""

import re
from hashlib import sha256
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.faults.environment.postgres_conditions import server_read_only
from tests.faults.environment.redis_conditions import demoted
from tests.faults.environment.site import Gate, Site
from tests.faults.environment.trial import (
    LONG_LEASE,
    ORDERS,
    assert_as_if_nothing_had_happened,
    assert_says_so,
    page,
    recovering,
)
from tests.faults.test_audit import audited
from tests.harness import assert_invariants, eventually, numbered_orders, take_and_vanish
from tests.inprocess import running
from worker.domain.orders import Status

# An audit and the replicas have to agree on it: what is made pending again is claimed when it is idle for so
# long.
SHORT_LEASE: dict[str, Any] = {**LONG_LEASE, "lease_ms": 1000, "transaction_timeout_s": 0.9}

OTHERWISE = {
    "datestyle": "German",
    "intervalstyle": "sql_standard",
    "timezone": "America/St_Johns",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "extra_float_digits": "-15",
    "client_encoding": "LATIN1",
}


def more_orders(count: int) -> list[dict[str, str]]:
    return numbered_orders(ORDERS + count)[ORDERS:]


def kinds(findings: list[Any]) -> set[tuple[str, str]]:
    return {(each["invariant"], each["remedy"]) for each in findings}


def test_batch_in_hand_is_published_when_the_orders_stream_is_deleted(site: Site) -> None:
    site.deployment.submit(numbered_orders(ORDERS))
    gate = Gate(committed=True)

    with running(site.workers, wrap_store=gate.wrap_store, **LONG_LEASE | {"batch_size": ORDERS}) as made:
        gate.await_somebody()
        site.deployment.redis.delete(site.deployment.orders)
        gate.open()
        with recovering("redis: orders deleted") as until:
            site.deployment.submit(more_orders(5))
            until(lambda: len(site.deployment.published()) == ORDERS + 5)
        eventually(site.deployment.all_settled)

    assert made.worker.stream.groups_lost == 1
    assert_as_if_nothing_had_happened(site, made, orders=ORDERS + 5)


def test_read_that_somebody_unblocks_is_no_lost_group(site: Site) -> None:
    def unblock() -> bool:
        reading = [each["id"] for each in site.deployment.redis.client_list() if "b" in each["flags"]]
        return any(site.command("CLIENT", "UNBLOCK", client, "ERROR") for client in reading)

    with running(site.workers, block_ms=2000, **LONG_LEASE) as made:
        eventually(unblock)
        eventually(lambda: made.worker.tally.outages)
        with recovering("redis: a read unblocked by hand") as until:
            site.deployment.submit(numbered_orders(ORDERS))
            until(site.deployment.all_settled)

    assert made.worker.stream.groups_lost == 0


def test_read_that_a_demotion_ends_is_no_lost_group(site: Site) -> None:
    def is_reading() -> bool:
        return any("b" in each["flags"] for each in site.deployment.redis.client_list())

    with capture_logs() as logged, running(site.workers, **LONG_LEASE) as made:
        eventually(is_reading)
        with demoted(site):
            eventually(lambda: "read only replica" in page(made, "/ready")[1])
        with recovering("redis: demoted while a replica reads") as until:
            site.deployment.submit(numbered_orders(ORDERS))
            until(site.deployment.all_settled)

    assert made.worker.stream.groups_lost == 0
    first, *_ = [each["reason"] for each in logged if each["event"] == "outage"]
    assert "UNBLOCKED force unblock" in first
    assert_as_if_nothing_had_happened(site, made)


def test_idle_replica_is_not_ready_while_postgresql_takes_no_writes(site: Site) -> None:
    with running(site.workers, **LONG_LEASE) as made:
        eventually(lambda: page(made, "/ready")[0] == 200)
        with server_read_only(site):
            eventually(lambda: "25006" in page(made, "/ready")[1])
            assert (page(made, "/ready")[0], page(made, "/health")[0]) == (503, 200)
        with recovering("postgresql: read-only beside an idle replica") as until:
            until(lambda: page(made, "/ready")[0] == 200)


def test_results_that_were_deleted_go_out_again_when_that_is_asked_for(site: Site) -> None:
    site.deployment.submit(numbered_orders(ORDERS))
    with running(site.workers, **LONG_LEASE) as made:
        eventually(site.deployment.all_settled)
        site.deployment.redis.delete(site.deployment.results)
        site.deployment.submit(more_orders(5))
        eventually(site.deployment.all_settled)
        assert len(site.deployment.published()) == 5
        with recovering("redis: results deleted") as until:
            code, findings, _ = audited(site.deployment, "--repair", "--republish")
            until(lambda: len(site.deployment.published()) == ORDERS + 5)

    assert (code, len(findings)) == (0, ORDERS)
    assert_as_if_nothing_had_happened(site, made, orders=ORDERS + 5)


def test_orders_that_the_group_was_moved_past_are_found_by_an_audit(site: Site) -> None:
    site.deployment.submit(numbered_orders(ORDERS))
    gate = Gate(committed=True)

    with running(site.workers, wrap_store=gate.wrap_store, **SHORT_LEASE) as made:
        gate.await_somebody()
        site.deployment.redis.xgroup_setid(site.deployment.orders, site.deployment.group, "$")
        gate.open()
        eventually(site.deployment.all_settled)
        skipped = ORDERS - len(site.deployment.published())
        with recovering("redis: group set to $", within=30) as until:
            code, findings, summary = audited(site.deployment, "--repair")
            until(lambda: len(site.deployment.published()) == ORDERS)
        eventually(site.deployment.all_settled)

    # All but the batch at the gate and the one that was read ahead of it.
    assert skipped == ORDERS - 20
    assert (code, len(findings), summary["mended"]) == (0, skipped, skipped)
    assert kinds(findings) == {("I1", "readopt")}
    assert_as_if_nothing_had_happened(site, made)


def test_orders_that_were_pending_for_a_deleted_consumer_are_found_by_an_audit(site: Site) -> None:
    site.deployment.submit(numbered_orders(ORDERS))
    take_and_vanish(site.deployment, 15)
    site.deployment.redis.xgroup_delconsumer(site.deployment.orders, site.deployment.group, "gone")

    with running(site.workers, **SHORT_LEASE) as made:
        eventually(site.deployment.all_settled)
        assert len(site.deployment.published()) == ORDERS - 15
        with recovering("redis: consumer deleted with pending entries", within=30) as until:
            code, findings, summary = audited(site.deployment, "--repair")
            until(lambda: len(site.deployment.published()) == ORDERS)
        eventually(site.deployment.all_settled)

    assert (code, len(findings), summary["mended"]) == (0, 15, 15)
    assert kinds(findings) == {("I1", "readopt")}
    assert_as_if_nothing_had_happened(site, made)


def test_letter_waits_while_the_stream_of_dead_letters_is_something_else(site: Site) -> None:
    site.deployment.redis.set(site.deployment.dead_letters, "no stream")
    site.deployment.add_raw("payload", "{")

    with running(site.workers, **LONG_LEASE) as made:
        assert_says_so(made, "WRONGTYPE")
        site.deployment.redis.delete(site.deployment.dead_letters)
        with recovering("redis: dead letters are no stream") as until:
            until(site.deployment.all_settled)

    assert [letter["reason"] for letter in site.deployment.letters()] == [b"undecodable"]
    assert_invariants(site.deployment, made.worker.tally)


def test_connection_that_redis_has_closed_for_being_idle_is_no_outage(site: Site) -> None:
    with site.configured(timeout=1), running(site.workers, **LONG_LEASE | {"block_ms": 2500}) as made:
        # One of the loop's two connections waits in a read, which is not idle.
        eventually(lambda: _loop_connections(site) == 1)
        with recovering("redis: idle connections closed") as until:
            site.deployment.submit(numbered_orders(ORDERS))
            until(site.deployment.all_settled)

    assert made.worker.tally.outages == 0
    assert_as_if_nothing_had_happened(site, made)


def _loop_connections(site: Site) -> int:
    return sum(client["name"] == "orders-worker-loop" for client in site.deployment.redis.client_list())


def test_connection_that_postgresql_has_closed_for_being_idle_costs_one_attempt(site: Site) -> None:
    site.sql(f"ALTER ROLE {site.name} SET idle_session_timeout = '2s'")

    with running(site.workers, **LONG_LEASE) as made:
        eventually(lambda: not site.backends())
        with recovering("postgresql: idle sessions ended") as until:
            site.deployment.submit(numbered_orders(ORDERS))
            until(site.deployment.all_settled)

    assert made.worker.tally.outages <= 1
    assert_as_if_nothing_had_happened(site, made)


def test_only_the_order_that_a_constraint_refuses_is_buried(site: Site) -> None:
    orders = numbered_orders(ORDERS)
    orders[17]["symbol"] = "REFUSED"
    site.sql("ALTER TABLE orders ADD CHECK (symbol <> 'REFUSED')")
    site.deployment.submit(orders)

    with running(site.workers, **LONG_LEASE) as made, recovering("postgresql: one row refused") as until:
        until(site.deployment.all_settled)

    (letter,) = site.deployment.letters()
    assert (letter["reason"], letter["order_id"]) == (b"database_rejected", b"order-17")
    assert site.deployment.rows()["order-17"].status is Status.DEAD
    assert made.worker.tally.outages == 0
    assert_invariants(site.deployment, made.worker.tally)


@pytest.mark.parametrize(
    "theirs",
    [
        "CREATE UNIQUE INDEX theirs ON orders (signal_id)",
        "ALTER TABLE orders ADD CONSTRAINT theirs EXCLUDE USING btree (signal_id WITH =)",
    ],
    ids=["unique", "exclusion"],
)
def test_only_the_order_that_is_not_alone_in_an_index_of_others_is_buried(site: Site, theirs: str) -> None:
    orders = [
        {**each, "signal_id": f"signal-{number}"} for number, each in enumerate(numbered_orders(ORDERS))
    ]
    orders[17]["signal_id"] = orders[3]["signal_id"]
    site.sql(theirs)
    site.deployment.submit(orders)

    with (
        running(site.workers, **LONG_LEASE) as made,
        recovering("postgresql: one row twice in others' eyes") as until,
    ):
        until(site.deployment.all_settled)

    (letter,) = site.deployment.letters()
    assert (letter["reason"], letter["order_id"]) == (b"database_rejected", b"order-17")
    assert b'"theirs"' in letter["error"]
    assert site.deployment.rows()["order-17"].status is Status.DEAD
    assert made.worker.tally.outages == 0
    assert_invariants(site.deployment, made.worker.tally)


def test_only_the_order_that_is_too_large_for_an_index_of_others_is_buried(site: Site) -> None:
    orders = numbered_orders(ORDERS)
    orders[17]["reason"] = "".join(sha256(bytes([number])).hexdigest() for number in range(200))
    site.sql("CREATE INDEX ON orders (reason)")
    site.deployment.submit(orders)

    with running(site.workers, **LONG_LEASE) as made, recovering("postgresql: one row too large") as until:
        until(site.deployment.all_settled)

    (letter,) = site.deployment.letters()
    assert (letter["reason"], letter["order_id"]) == (b"database_rejected", b"order-17")
    assert b"54000" in letter["error"]
    assert made.worker.tally.outages == 0
    assert_invariants(site.deployment, made.worker.tally)


def test_retries_are_duplicates_whatever_the_role_has_set_for_its_sessions(site: Site) -> None:
    for name, value in OTHERWISE.items():
        site.sql(f"ALTER ROLE {site.name} SET {name} = '{value}'")
    orders = numbered_orders(ORDERS)
    orders[17]["reason"] = r"c:\new 突破"
    site.deployment.submit(orders + orders)

    with (
        running(site.workers, **LONG_LEASE) as made,
        recovering("postgresql: settings of a session") as until,
    ):
        until(site.deployment.all_settled)
        # Where the checks have not been answered yet, nobody is asked.
        eventually(lambda: page(made, "/orders?limit=1")[0] == 200)
        shown = page(made, "/orders?limit=1")[1]

    assert re.search(r'"executed_at": "[^"]*Z"', shown)
    assert made.worker.tally.duplicate == ORDERS
    assert site.deployment.rows()["order-17"].labels.reason == orders[17]["reason"]
    assert made.worker.tally.outages == 0
    assert_as_if_nothing_had_happened(site, made)


def test_schema_that_falls_behind_under_a_replica_is_shown_and_stops_nothing(site: Site) -> None:
    with running(site.workers, **LONG_LEASE) as made:
        eventually(lambda: page(made, "/ready")[0] == 200)
        site.sql("ALTER TABLE orders_worker_version RENAME TO away")
        eventually(lambda: "the schema is behind" in page(made, "/ready")[1])
        site.deployment.submit(numbered_orders(ORDERS))
        eventually(site.deployment.all_settled)
        site.sql("ALTER TABLE away RENAME TO orders_worker_version")
        with recovering("postgresql: schema behind") as until:
            until(lambda: page(made, "/ready")[0] == 200)

    assert_as_if_nothing_had_happened(site, made)


def test_schema_of_a_newer_version_is_no_reason_to_wait(site: Site) -> None:
    site.sql("UPDATE orders_worker_version SET version_num = 'from the future'")
    site.deployment.submit(numbered_orders(ORDERS))

    with running(site.workers, **LONG_LEASE) as made, recovering("postgresql: schema ahead") as until:
        until(site.deployment.all_settled)
        eventually(lambda: page(made, "/ready")[0] == 200)

    assert_as_if_nothing_had_happened(site, made)
