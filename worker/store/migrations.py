"""Bringing the schema to a revision, by alembic."""

from alembic import command
from alembic.config import Config

from worker.store.engine import Database
from worker.store.schema import SchemaState, location, schema_state


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema to a revision; of several callers at once one works while the others wait.

    A schema that is newer than this version knows stays as it is: there is nothing that this version could add.
    """
    if schema_state(database) is SchemaState.NEWER:
        return
    with database.patient_transaction() as connection:
        command.upgrade(_config(connection=connection), revision)


def downgrade(database: Database, revision: str) -> None:
    """Take the schema back to a revision."""
    with database.patient_transaction() as connection:
        command.downgrade(_config(connection=connection), revision)


def _config(**attributes: object) -> Config:
    config = Config()
    config.set_main_option("script_location", str(location()))
    config.attributes.update(attributes)
    return config
