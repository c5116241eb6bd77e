"""The schema: up, down, agreeing with the tables, and safe for many at once."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from tests.harness import Deployment
from tests.processes import free_port
from worker import bootstrap
from worker.domain.errors import SchemaBehind
from worker.store import migrations
from worker.store.tables import metadata


def table_names(deployment: Deployment) -> set[str]:
    with deployment.database.transaction() as connection:
        return set(inspect(connection).get_table_names())


def test_migrations_lead_from_nothing_to_the_tables_and_back(empty_database: Deployment) -> None:
    migrations.upgrade(empty_database.database)

    assert {"orders", "trades"} <= table_names(empty_database)
    assert migrations.schema_state(empty_database.database) is migrations.SchemaState.CURRENT

    migrations.downgrade(empty_database.database, "base")

    assert table_names(empty_database) == {"alembic_version"}


def test_autogenerate_finds_nothing_to_add(deployment: Deployment) -> None:
    with deployment.database.transaction() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )

        differences = compare_metadata(context, metadata)

    assert differences == []


def test_start_is_refused_when_the_schema_is_behind(empty_database: Deployment) -> None:
    settings = empty_database.settings(health_port=free_port())

    with pytest.raises(SchemaBehind, match="worker migrate"), bootstrap.replica(settings):
        pytest.fail("the replica started")


def test_newer_schema_is_accepted(deployment: Deployment) -> None:
    with deployment.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'from the future'")

    assert migrations.require_current(deployment.database) is migrations.SchemaState.NEWER
