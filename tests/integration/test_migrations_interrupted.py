"""Migrating that is cut off anywhere, and done again; and many who migrate at once."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from sqlalchemy import Connection

from tests.harness import Deployment, Servers, eventually
from tests.integration.test_what_logs_hold import logged
from tests.migrating import (
    INDEXES,
    IS_BEING_BUILT,
    ask,
    database_of,
    indexes,
    is_current,
    looking,
    made_by_the_last_version,
    migrate_process,
    migrating,
    relations,
    session,
    watched,
)
from worker.domain.errors import WorkerError
from worker.store import migrations, turns

CHANGES = ("ALTER", "CREATE", "DROP", "INSERT", "UPDATE")
HAS_THE_TURN = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = %s"
END_THE_BUILD = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND query LIKE 'CREATE UNIQUE INDEX%'"
)


@contextmanager
def cut(when: str, number: int) -> Iterator[list[str]]:
    """Cut the connection before or after so many changing statements; yields those that came so far."""
    changes: list[str] = []

    def look(connection: Connection, statement: str) -> None:
        if statement.lstrip().startswith(CHANGES):
            changes.append(statement)
            if len(changes) == number:
                driver = connection.connection.driver_connection
                assert driver is not None
                driver.close()

    with watched(when, look):
        yield changes


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("made_before", "steps"), [(True, 8), (False, 11)])
def test_migration_goes_on_from_wherever_it_was_cut_off(
    servers: Servers, when: str, *, made_before: bool, steps: int
) -> None:
    cut_off = []
    for number in range(1, steps + 1):
        with database_of(servers) as deployment:
            if made_before:
                made_by_the_last_version(deployment, orders=10)
            with cut(when, number) as changes, pytest.raises(WorkerError):
                migrations.upgrade(deployment.database)
            cut_off.append(changes[-1])

            migrations.upgrade(deployment.database)

            assert is_current(deployment), cut_off
            assert indexes(deployment) == INDEXES
            assert ask(deployment, "SELECT count(*) FROM orders") == [10 if made_before else 0]

    assert len(set(cut_off)) == steps
    assert cut_off[-1].startswith("UPDATE orders_worker_version")


def migrate_until_the_server_ends_the_build(deployment: Deployment) -> None:
    with looking(deployment), migrating(deployment):
        eventually(lambda: ask(deployment, IS_BEING_BUILT))
        assert ask(deployment, END_THE_BUILD) == [True]


def test_invalid_index_that_a_build_has_left_is_built_anew(empty_database: Deployment) -> None:
    made_by_the_last_version(empty_database, orders=10)
    with pytest.raises(WorkerError, match="terminating connection"):
        migrate_until_the_server_ends_the_build(empty_database)
    assert ask(empty_database, IS_BEING_BUILT)

    migrations.upgrade(empty_database.database)

    assert indexes(empty_database) == INDEXES
    assert is_current(empty_database)


@pytest.mark.as_administrator
def test_index_is_built_again_when_its_build_was_ended_by_a_deadlock(empty_database: Deployment) -> None:
    made_by_the_last_version(empty_database, orders=10)

    with looking(empty_database) as person, migrating(empty_database, deadlock_timeout="3s"):
        # The other one is to look for a deadlock first, and so to be ended.
        person.execute("SET LOCAL deadlock_timeout = '1min'")
        eventually(lambda: ask(empty_database, IS_BEING_BUILT))
        person.execute("LOCK TABLE orders IN SHARE UPDATE EXCLUSIVE MODE")
        person.execute("COMMIT")

    assert indexes(empty_database) == INDEXES
    assert is_current(empty_database)


def test_migration_that_is_killed_is_followed_by_another_while_its_index_is_still_being_built(
    empty_database: Deployment,
) -> None:
    """The server goes on building for somebody who is gone."""
    made_by_the_last_version(empty_database, orders=10)
    with looking(empty_database) as person:
        with migrate_process(empty_database) as killed:
            eventually(lambda: ask(empty_database, IS_BEING_BUILT))
            killed.send_signal(signal.SIGKILL)
            killed.wait(timeout=20)

        with migrating(empty_database) as migration:
            eventually(lambda: ask(empty_database, HAS_THE_TURN, turns.TURN & 0xFFFFFFFF))
            assert migration.is_alive()
            person.execute("COMMIT")

    assert indexes(empty_database) == INDEXES
    assert is_current(empty_database)


def test_migration_waits_while_another_one_has_the_turn(
    empty_database: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "SAY_EVERY_S", 0.05)
    out = logged()
    with session(empty_database) as other:
        other.execute("BEGIN")
        other.execute(f"SELECT pg_advisory_xact_lock({turns.TURN})".encode())

        with migrating(empty_database) as migration:
            eventually(lambda: "another migration is at work" in out.getvalue())
            assert migration.is_alive()
            assert relations(empty_database) == set()
            other.execute("COMMIT")

    assert is_current(empty_database)


def test_tables_of_the_last_version_are_migrated_once_when_many_migrate_at_once(
    empty_database: Deployment,
) -> None:
    made_by_the_last_version(empty_database, orders=10)

    with ExitStack() as stack:
        running = [stack.enter_context(migrate_process(empty_database)) for _ in range(6)]
        said = [process.communicate(timeout=60)[0] for process in running]

    assert said == ["schema: current\n"] * 6
    assert indexes(empty_database) == INDEXES
