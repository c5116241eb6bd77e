"""Migrating where each transaction may get another session: PgBouncer in transaction mode."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tests import pooler
from tests.harness import Deployment, eventually
from tests.migrating import (
    INDEXES,
    IS_BEING_BUILT,
    ask,
    execute,
    indexes,
    is_current,
    looking,
    made_by_the_last_version,
    migrate_process,
    writing,
)
from worker.store import migrations


@pytest.fixture
def pooled(empty_database: Deployment, tmp_path: Path) -> Iterator[Deployment]:
    """The same database, reached through a pooler."""
    with pooler.pooled(empty_database, tmp_path) as made:
        yield made


def test_migrations_through_a_pooler_take_turns_beside_the_work(
    empty_database: Deployment, pooled: Deployment
) -> None:
    made_by_the_last_version(empty_database, orders=1000)
    with ExitStack() as stack:
        person = stack.enter_context(looking(empty_database))
        for name, copies in (("inserts", False), ("copies", True)):
            stack.enter_context(writing(pooled, name, copies=copies))
        running = [stack.enter_context(migrate_process(pooled)) for _ in range(3)]
        eventually(lambda: ask(empty_database, IS_BEING_BUILT))
        person.execute("COMMIT")
        said = [process.communicate(timeout=60)[0] for process in running]

    assert said == ["schema: current\n"] * 3
    assert indexes(empty_database) == INDEXES


def test_tables_are_made_and_removed_through_a_pooler(pooled: Deployment) -> None:
    migrations.upgrade(pooled.database)
    assert is_current(pooled)

    migrations.downgrade(pooled.database, "base")
    migrations.upgrade(pooled.database)

    assert is_current(pooled)


@pytest.mark.as_administrator
@pytest.mark.parametrize("left", ["", "elsewhere"])
def test_schema_is_migrated_where_the_role_says_in_sessions_that_others_have_left_elsewhere(
    empty_database: Deployment, tmp_path: Path, left: str
) -> None:
    made_by_the_last_version(empty_database, orders=10)
    execute(empty_database, "CREATE SCHEMA elsewhere")
    # As many as a migration uses at once.
    with pooler.pooled(empty_database, tmp_path, default_pool_size=2) as behind:
        with ExitStack() as stack:
            for _ in range(2):
                other = stack.enter_context(psycopg.connect(behind.database_url))
                # As the restoring of a dump leaves it.
                other.execute("SELECT set_config('search_path', %s, false)", [left])

        migrations.upgrade(behind.database)

        assert is_current(behind)
    assert indexes(empty_database) == INDEXES
