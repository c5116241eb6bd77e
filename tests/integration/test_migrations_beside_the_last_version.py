"""Two versions side by side: tables of the last one are taken over, and it goes on with them."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest

from tests.harness import Deployment, eventually
from tests.migrating import (
    ask,
    execute,
    looking,
    made_by_the_last_version,
    migrating,
    relations,
    session,
    writing,
)
from worker.domain.database_state import SchemaState
from worker.domain.errors import SchemaBehind
from worker.store import migrations, schema

# What the last version's `worker migrate` does where there is nothing to do, and how long it waits for
# others.
LAST_VERSIONS_TURN = f"SELECT pg_advisory_xact_lock({0x6F726465727301})"
WAITS_FOR_A_TURN = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
LAST_VERSIONS_REVISION = "SELECT version_num FROM alembic_version"


def test_tables_of_the_last_version_are_behind_and_migrated_with_their_rows(
    empty_database: Deployment,
) -> None:
    made_by_the_last_version(empty_database, orders=10)

    with pytest.raises(SchemaBehind):
        schema.require_current(empty_database.database)
    migrations.upgrade(empty_database.database)

    assert schema.require_current(empty_database.database) is SchemaState.CURRENT
    assert ask(empty_database, "SELECT DISTINCT source FROM orders") == [""]
    assert ask(empty_database, "SELECT count(*) FROM orders") == [10]


def test_what_the_last_version_has_recorded_stays_so_that_it_finds_itself_current(
    empty_database: Deployment,
) -> None:
    made_by_the_last_version(empty_database)

    migrations.upgrade(empty_database.database)
    found = [ask(empty_database, LAST_VERSIONS_REVISION)]
    migrations.downgrade(empty_database.database, "0001")
    found.append(ask(empty_database, LAST_VERSIONS_REVISION))

    assert found == [["0001"], ["0001"]]


def test_last_version_goes_on_writing_before_during_and_after_the_migration(
    empty_database: Deployment,
) -> None:
    made_by_the_last_version(empty_database)
    with (
        writing(empty_database, "inserts", copies=False) as inserting,
        writing(empty_database, "copies", copies=True) as copying,
    ):
        eventually(lambda: inserting.written and copying.written)
        migrations.upgrade(empty_database.database)
        so_far = inserting.written, copying.written
        eventually(lambda: inserting.written > so_far[0] and copying.written > so_far[1])

    assert ask(empty_database, "SELECT count(*) FROM orders WHERE source = ''") == [
        inserting.written + copying.written
    ]


def test_entry_of_the_last_version_stays_unique_after_the_migration(deployment: Deployment) -> None:
    execute(
        deployment,
        "INSERT INTO orders (order_id, entry_id, fingerprint, status, filled_quantity, executed_at)"
        " SELECT order_id, '1-0', '', 'REJECTED', 0, now() FROM (VALUES ('a'), ('b')) AS o (order_id)"
        " ON CONFLICT DO NOTHING",
    )

    assert ask(deployment, "SELECT order_id FROM orders") == ["a"]


@contextmanager
def migrating_by_the_last_version(deployment: Deployment) -> Iterator[list[int]]:
    """Several who migrate by the last version, over and over; yields how often they have."""
    over, done = Event(), [0, 0, 0]

    def migrate(number: int) -> None:
        with session(deployment) as connection:
            while not over.is_set():
                with connection.transaction():
                    connection.execute(LAST_VERSIONS_TURN.encode())
                    connection.execute(LAST_VERSIONS_REVISION.encode())
                done[number] += 1

    threads = [Thread(target=migrate, args=(number,)) for number in range(len(done))]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        over.set()
        for thread in threads:
            thread.join(timeout=20)


def test_migrations_of_both_versions_get_out_of_each_others_way(empty_database: Deployment) -> None:
    made_by_the_last_version(empty_database, orders=1000)

    with migrating_by_the_last_version(empty_database) as done:
        eventually(lambda: all(done))
        with migrating(empty_database):
            pass
        so_far = list(done)
        eventually(lambda: all(now > before for now, before in zip(done, so_far, strict=True)))

    assert schema.schema_state(empty_database.database) is SchemaState.CURRENT


def test_nobody_waits_for_the_turn_of_the_last_version_while_the_index_is_built(
    empty_database: Deployment,
) -> None:
    """The index would wait for them, and they for it."""
    made_by_the_last_version(empty_database)
    building = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE UNIQUE%' AND state = 'active'"
    with looking(empty_database) as person, session(empty_database) as last, migrating(empty_database):
        eventually(lambda: ask(empty_database, building))
        last.execute("SET lock_timeout = '5s'")
        last.execute(LAST_VERSIONS_TURN.encode())
        person.execute("COMMIT")


@pytest.mark.as_administrator
def test_tables_that_the_last_version_makes_at_the_same_time_are_taken_over(
    empty_database: Deployment,
) -> None:
    made_by_the_last_version(empty_database, orders=3)
    tables = ("alembic_version", "trades", "orders")
    execute(
        empty_database, "CREATE SCHEMA aside", *(f"ALTER TABLE {each} SET SCHEMA aside" for each in tables)
    )
    with session(empty_database) as last:
        # None of it is seen before it is committed.
        last.execute("BEGIN")
        last.execute(LAST_VERSIONS_TURN.encode())
        for each in tables:
            last.execute(f"ALTER TABLE aside.{each} SET SCHEMA public".encode())

        with migrating(empty_database) as migration:
            eventually(lambda: ask(empty_database, WAITS_FOR_A_TURN))
            assert migration.is_alive()
            last.execute("COMMIT")

    assert ask(empty_database, LAST_VERSIONS_REVISION) == ["0001"]
    assert ask(empty_database, "SELECT count(*) FROM orders") == [3]
    assert schema.schema_state(empty_database.database) is SchemaState.CURRENT


def test_record_of_others_does_not_matter_once_there_is_our_own(deployment: Deployment) -> None:
    execute(
        deployment,
        "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)",
        "INSERT INTO alembic_version VALUES ('d259a9bca9e7')",
    )
    before = relations(deployment)

    migrations.upgrade(deployment.database)

    assert schema.require_current(deployment.database) is SchemaState.CURRENT
    assert relations(deployment) == before
    migrations.downgrade(deployment.database, "base")
    migrations.upgrade(deployment.database)
    assert ask(deployment, LAST_VERSIONS_REVISION) == ["d259a9bca9e7"]
