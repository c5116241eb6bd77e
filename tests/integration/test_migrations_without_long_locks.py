"""Migrating beside the work: nobody waits for long, whoever holds what, and no row is rewritten."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from sqlalchemy import Connection

from tests.harness import Deployment, Servers, eventually
from tests.integration.test_what_logs_hold import logged
from tests.migrating import (
    HAS_BEEN_BUILT_FOR,
    IS_BEING_BUILT,
    Writer,
    ask,
    database_of,
    is_current,
    looking,
    made_by_the_last_version,
    migrating,
    session,
    watched,
    writing,
)
from worker.domain.errors import Outage
from worker.store import engine, migrations, turns

ROWS = 300_000
# A machine that is busy with other tests may keep anybody waiting for longer than a lock does.
BUSY_S = 2.0
LONGEST_S = engine.LOCK_WAIT_MS / 1000 + BUSY_S
WRITTEN_MEANWHILE = 200

WAITS_FOR_ALL = (
    "SELECT 1 FROM pg_locks"
    " WHERE mode = 'AccessExclusiveLock' AND NOT granted AND relation = 'orders'::regclass"
)


@pytest.fixture(scope="module")
def large_template(servers: Servers) -> Iterator[str]:
    """A database of the last version with many orders, to be copied."""
    with database_of(servers) as made:
        made_by_the_last_version(made, orders=ROWS)
        made.database.close()
        yield made.database_name


@pytest.fixture
def large(servers: Servers, large_template: str) -> Iterator[Deployment]:
    with database_of(servers, template=large_template) as made:
        yield made


@contextmanager
def busy(deployment: Deployment) -> Iterator[list[Writer]]:
    """Two who go on writing beside the block."""
    with (
        writing(deployment, "inserts", copies=False) as inserting,
        writing(deployment, "copies", copies=True) as copying,
    ):
        writers = [inserting, copying]
        eventually(lambda: all(writer.written for writer in writers))
        yield writers


def more_is_written(writers: list[Writer]) -> None:
    before = [writer.written for writer in writers]
    eventually(
        lambda: all(
            writer.written >= so_far + WRITTEN_MEANWHILE
            for writer, so_far in zip(writers, before, strict=True)
        )
    )


@pytest.mark.parametrize(
    "held", ["SELECT 1 FROM orders WHERE order_id = 'order-1' FOR UPDATE", "SELECT count(*) FROM orders"]
)
def test_orders_go_on_to_be_written_while_a_long_transaction_keeps_the_migration_waiting(
    large: Deployment, held: str
) -> None:
    storage = ask(large, "SELECT pg_relation_filenode('orders')")
    with session(large) as holder, busy(large) as writers:
        holder.execute("BEGIN")
        holder.execute(held.encode())

        with migrating(large) as migration:
            for _ in range(3):
                eventually(lambda: ask(large, WAITS_FOR_ALL))
                eventually(lambda: not ask(large, WAITS_FOR_ALL))
            more_is_written(writers)
            assert migration.is_alive()
            holder.execute("COMMIT")

        more_is_written(writers)

    assert is_current(large)
    assert max(writer.longest_s for writer in writers) < LONGEST_S
    assert ask(large, "SELECT pg_relation_filenode('orders')") == storage
    assert ask(large, "SELECT count(*) FROM orders WHERE source = ''") == [
        ROWS + sum(writer.written for writer in writers)
    ]


def test_index_is_built_beside_the_work_and_ends_once_older_transactions_have(large: Deployment) -> None:
    with looking(large) as person, busy(large) as writers:
        with migrating(large) as migration:
            eventually(lambda: ask(large, IS_BEING_BUILT))
            more_is_written(writers)
            assert migration.is_alive()
            person.execute("COMMIT")

        more_is_written(writers)

    assert is_current(large)
    assert max(writer.longest_s for writer in writers) < LONGEST_S


def test_waiting_is_said_with_the_transaction_that_is_the_oldest(
    empty_database: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by_the_last_version(empty_database)
    monkeypatch.setattr(turns, "SAY_EVERY_S", 0.05)

    out = logged()
    with session(empty_database, application_name="a person") as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE orders IN ACCESS SHARE MODE")
        pid = holder.info.backend_pid
        with migrating(empty_database):
            eventually(lambda: any("a table is locked" in line["why"] for line in lines(out)))
            holder.execute("COMMIT")

    found = [line["oldest_transaction"] for line in lines(out) if "oldest_transaction" in line]
    assert {"pid": pid, "application_name": "a person", "state": "idle in transaction"}.items() <= found[
        -1
    ].items()


def lines(out: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_time_limits_of_a_role_or_database_end_no_migration(large: Deployment) -> None:
    limits = ask(
        large, "SELECT name FROM pg_settings WHERE name ~ '^(statement|lock|transaction|idle_in_.*)_timeout$'"
    )
    # Not shorter: they hold until a migration has set its own, and a busy machine may stand still for a
    # moment there.
    with looking(large) as person, migrating(large, **dict.fromkeys(limits, "1s")):
        eventually(lambda: ask(large, HAS_BEEN_BUILT_FOR, 1.5))
        person.execute("COMMIT")

    assert len(limits) >= 3
    assert is_current(large)


def test_migration_that_stops_with_a_lock_in_hand_loses_it(
    empty_database: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by_the_last_version(empty_database)
    # Longer than a busy machine lets a migration wait anywhere else.
    monkeypatch.setattr("worker.store.migrations._PAUSE_LIMIT_MS", 3000)
    stopped = []

    def stop(_connection: Connection, statement: str) -> None:
        if statement.startswith("ALTER TABLE orders ADD COLUMN"):
            stopped.append(statement)
            with writing(empty_database, "meanwhile", copies=False) as writer:
                eventually(lambda: writer.written)

    with watched("after", stop), pytest.raises(Outage, match="idle-in-transaction timeout"):
        migrations.upgrade(empty_database.database)

    assert len(stopped) == 1
    assert ask(empty_database, "SELECT count(*) > 0 FROM orders") == [True]
    migrations.upgrade(empty_database.database)
    assert is_current(empty_database)
