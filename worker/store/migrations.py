"""The schema's revisions: where a database stands, and bringing it to the newest."""

from enum import Enum
from functools import cache
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from worker.domain.errors import SchemaBehind
from worker.store.engine import Database


class SchemaState(Enum):
    """Where a database stands against the revisions this version knows."""

    CURRENT = "current"
    BEHIND = "behind"
    NEWER = "newer"


@cache
def revisions() -> ScriptDirectory:
    """Return the revisions this version knows; they are read from their files once."""
    return ScriptDirectory.from_config(_config())


def schema_state(database: Database) -> SchemaState:
    """Compare the database with the newest revision; a revision unknown here is a newer one."""
    with database.transaction() as connection:
        # Asked every second, with a table object made anew each time, that no cache of statements would ever meet again.
        uncached = connection.execution_options(compiled_cache=None)
        here = set(MigrationContext.configure(uncached).get_current_heads())
    scripts = revisions()
    if here == set(scripts.get_heads()):
        return SchemaState.CURRENT
    known = {script.revision for script in scripts.walk_revisions()}
    return SchemaState.BEHIND if not here or here <= known else SchemaState.NEWER


def require_current(database: Database) -> SchemaState:
    """Return unless the schema is behind; raises SchemaBehind with the command that mends it."""
    state = schema_state(database)
    if state is SchemaState.BEHIND:
        raise SchemaBehind(
            "the database schema is behind this version: run `worker migrate` (or `make migrate`)"
        )
    return state


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
    config.set_main_option("script_location", str(_location()))
    config.attributes.update(attributes)
    return config


def _location() -> Path:
    package = Path(str(files("worker")))
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parent / "alembic"
