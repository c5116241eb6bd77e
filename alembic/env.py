"""Runs migrations in one transaction, one caller at a time."""

from alembic import context
from sqlalchemy import Connection, text

from worker.bootstrap.connections import database_from_environment
from worker.store.tables import metadata

# Any constant shared by all versions: replicas that start at once take turns on it.
MIGRATION_LOCK = 0x6F726465727301


def run(connection: Connection) -> None:
    """Migrate under the lock; who comes second finds nothing left to do."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    database = database_from_environment()
    with database.patient_transaction() as own:
        run(own)
    database.close()
