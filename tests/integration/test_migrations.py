"""The schema: up, down, agreeing with the tables, and by alembic's own command line."""

import os
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from local.directory import free_port
from tests.commands import command
from tests.harness import Deployment
from tests.migrating import ask, execute, made_by_the_last_version, relations
from tests.processes import ROOT
from worker.bootstrap import replica
from worker.domain.database_state import SchemaState
from worker.domain.errors import ConfigurationError, SchemaBehind
from worker.store import Database, migrations, schema
from worker.store.tables import metadata

ALEMBIC = (sys.executable, "-c", "from alembic.config import main; main()")


def table_names(deployment: Deployment) -> set[str]:
    with deployment.database.transaction() as connection:
        return set(inspect(connection).get_table_names())


def alembic(deployment: Deployment, *arguments: str) -> tuple[int, str]:
    """Run alembic's own command line; return its exit code and what it said."""
    done = subprocess.run(
        [*ALEMBIC, *arguments],
        cwd=ROOT, env=deployment.process_environment(), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_migrations_lead_from_nothing_to_the_tables_and_back(empty_database: Deployment) -> None:
    migrations.upgrade(empty_database.database)

    assert {"orders", "trades", "order_sources"} <= table_names(empty_database)
    assert schema.schema_state(empty_database.database) is SchemaState.CURRENT

    migrations.downgrade(empty_database.database, "base")

    assert table_names(empty_database) == {"orders_worker_version"}


def test_migrations_may_be_taken_back_and_done_again(empty_database: Deployment) -> None:
    found = []
    for revision in schema.known_revisions():
        migrations.upgrade(empty_database.database, revision)
        found.append(relations(empty_database))

    migrations.downgrade(empty_database.database, "0001")
    assert relations(empty_database) == found[0]

    migrations.downgrade(empty_database.database, "base")
    migrations.upgrade(empty_database.database)
    assert relations(empty_database) == found[-1]


def test_downgrade_is_refused_and_changes_nothing_when_two_sources_share_an_entry_id(
    empty_database: Deployment,
) -> None:
    migrations.upgrade(empty_database.database, "0002")
    execute(
        empty_database,
        "INSERT INTO orders (order_id, entry_id, source, fingerprint, status, filled_quantity, executed_at)"
        " SELECT source, '1-0', source, '', 'REJECTED', 0, now() FROM (VALUES ('a'), ('b')) AS s (source)",
    )
    before = relations(empty_database)

    with pytest.raises(ConfigurationError, match="two sources have an entry id in common"):
        migrations.downgrade(empty_database.database, "0001")

    assert relations(empty_database) == before
    assert ask(empty_database, "SELECT version_num FROM orders_worker_version") == ["0002"]
    assert ask(empty_database, "SELECT source FROM orders ORDER BY 1") == ["a", "b"]


def test_autogenerate_finds_nothing_to_add(deployment: Deployment) -> None:
    with deployment.database.transaction() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True, "compare_server_default": True, "version_table": "orders_worker_version"
            },
        )  # fmt: skip

        differences = compare_metadata(context, metadata)

    assert differences == []


@pytest.mark.parametrize("made_before", [False, True])
def test_command_line_of_alembic_migrates_and_finds_nothing_to_add(
    empty_database: Deployment, *, made_before: bool
) -> None:
    if made_before:
        made_by_the_last_version(empty_database)

    said = [alembic(empty_database, *command.split()) for command in ("upgrade head", "check", "current")]

    assert [code for code, _ in said] == [0, 0, 0], said
    assert "No new upgrade operations detected" in said[1][1]
    assert f"{schema.known_revisions()[-1]} (head)" in said[2][1]
    assert alembic(empty_database, "downgrade", "base")[0] == 0


def test_command_line_of_alembic_says_in_one_line_what_is_in_the_way(empty_database: Deployment) -> None:
    execute(empty_database, "CREATE TABLE orders ()")

    code, said = alembic(empty_database, "upgrade", "head")

    assert code not in {0, 1}
    assert said.startswith("FAILED: schema public has")
    assert len(said.splitlines()) == 1


def test_migration_needs_nothing_but_the_package(empty_database: Deployment) -> None:
    """As an installed worker has it: no alembic.ini, any working directory."""
    done = subprocess.run(
        [sys.executable, "-m", "worker", "migrate"],
        cwd="/", env=empty_database.process_environment() | {"PYTHONPATH": os.fspath(ROOT)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, "schema: current\n")


def test_revisions_are_told_by_the_names_of_their_files() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.location()))
    scripts = ScriptDirectory.from_config(config)

    assert sorted(script.revision for script in scripts.walk_revisions()) == list(schema.known_revisions())
    assert scripts.get_heads() == [schema.known_revisions()[-1]]


def test_search_path_that_was_mended_is_seen_by_who_has_looked_before(deployment: Deployment) -> None:
    looking = Database(
        deployment.database_url, transaction_timeout_s=10, pool_size=1, application_name="test"
    )
    found = []
    for setting in ("SET search_path = nowhere", "RESET search_path"):
        with deployment.database.transaction() as connection:
            connection.exec_driver_sql(f'ALTER DATABASE "{deployment.database_name}" {setting}')
        found.append(schema.schema_state(looking))
    looking.close()

    assert found == [SchemaState.BEHIND, SchemaState.CURRENT]


@pytest.mark.parametrize("arguments", [("show", "o1"), ("audit",), ("audit", "--repair")])
def test_command_says_worker_migrate_when_the_tables_are_those_of_the_last_version(
    empty_database: Deployment, arguments: tuple[str, ...]
) -> None:
    """Proves that a column that is not there yet is no server that is away."""
    made_by_the_last_version(empty_database)

    done = command(empty_database, *arguments)

    assert done.exit_code == 78
    assert "worker migrate" in done.stderr


def test_start_is_refused_when_the_schema_is_behind(empty_database: Deployment) -> None:
    settings = empty_database.settings(health_port=free_port())

    with pytest.raises(SchemaBehind, match="worker migrate"), replica.replica(settings):
        pytest.fail("the replica started")


def test_newer_schema_is_accepted_and_left_alone(deployment: Deployment) -> None:
    execute(deployment, "UPDATE orders_worker_version SET version_num = 'from the future'")

    migrations.upgrade(deployment.database)

    assert schema.require_current(deployment.database) is SchemaState.NEWER
    assert ask(deployment, "SELECT version_num FROM orders_worker_version") == ["from the future"]
