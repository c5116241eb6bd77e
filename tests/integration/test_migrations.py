"""The schema: up, down, agreeing with the tables, and safe for many at once."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from tests.harness import Deployment
from tests.processes import free_port
from worker.bootstrap import replica
from worker.domain.errors import SchemaBehind
from worker.store import Database, migrations, schema
from worker.store.tables import metadata


def table_names(deployment: Deployment) -> set[str]:
    with deployment.database.transaction() as connection:
        return set(inspect(connection).get_table_names())


def test_migrations_lead_from_nothing_to_the_tables_and_back(empty_database: Deployment) -> None:
    migrations.upgrade(empty_database.database)

    assert {"orders", "trades"} <= table_names(empty_database)
    assert schema.schema_state(empty_database.database) is schema.SchemaState.CURRENT

    migrations.downgrade(empty_database.database, "base")

    assert table_names(empty_database) == {"alembic_version"}


def test_autogenerate_finds_nothing_to_add(deployment: Deployment) -> None:
    with deployment.database.transaction() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )

        differences = compare_metadata(context, metadata)

    assert differences == []


def test_revisions_are_told_by_the_names_of_their_files() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.location()))
    scripts = ScriptDirectory.from_config(config)

    assert sorted(script.revision for script in scripts.walk_revisions()) == list(schema.known_revisions())
    assert scripts.get_heads() == [schema.known_revisions()[-1]]


def test_database_of_others_is_behind(empty_database: Deployment) -> None:
    with empty_database.database.transaction() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)")

    assert schema.schema_state(empty_database.database) is schema.SchemaState.BEHIND


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

    assert found == [schema.SchemaState.BEHIND, schema.SchemaState.CURRENT]


def test_start_is_refused_when_the_schema_is_behind(empty_database: Deployment) -> None:
    settings = empty_database.settings(health_port=free_port())

    with pytest.raises(SchemaBehind, match="worker migrate"), replica.replica(settings):
        pytest.fail("the replica started")


def test_newer_schema_is_accepted(deployment: Deployment) -> None:
    with deployment.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'from the future'")

    assert schema.require_current(deployment.database) is schema.SchemaState.NEWER
