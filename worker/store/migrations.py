"""Bringing the schema to a revision by alembic: in steps, beside working replicas, one caller at a time."""

from alembic import command, context
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError, PendingRollbackError

from worker.domain.database_state import SchemaState
from worker.store.engine import Database
from worker.store.ground import LAST_VERSION_TABLE, VERSION_TABLE
from worker.store.schema import location, require_way, schema_state, standing_on
from worker.store.tables import metadata
from worker.store.turns import Waiting, turn

# A lock that was not to be had in time, a deadlock.
_TO_BE_REPEATED = {"55P03", "40P01"}

# Longer than any step of a migration takes between two of its statements.
_PAUSE_LIMIT_MS = 5_000


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema to a revision; of several callers at once one works while the others wait.

    Takes as long as others have the tables locked, and may be interrupted and repeated at any point. A schema
    that is newer than this version knows stays as it is. Raises ConfigurationError where something is in the
    way of the tables.
    """
    if schema_state(database) not in {SchemaState.CURRENT, SchemaState.NEWER}:
        command.upgrade(_config(database=database), revision)


def downgrade(database: Database, revision: str) -> None:
    """Take the schema back to a revision, in the same way."""
    command.downgrade(_config(database=database), revision)


def _config(**attributes: object) -> Config:
    config = Config()
    config.set_main_option("script_location", str(location()))
    config.attributes.update(attributes)
    return config


def run(database: Database) -> None:
    """Do what alembic was asked for.

    Its env.py calls this, whether alembic was started from here or by its own command line.
    """
    waiting = Waiting(database)
    with waiting.told(), turn(database, waiting):
        waiting.why = (
            "a step is at work; an index takes until the transactions have ended that are older than it"
        )
        locked = "a table is locked; it is asked for again and again, so that nobody has to wait behind"
        waiting.until(locked)(_is_done, database)


def _is_done(database: Database) -> bool:
    """Try, and return whether nobody was in the way; what has been done stays done."""
    with database.session(idle_limit_ms=_PAUSE_LIMIT_MS) as connection:
        try:
            require_way(standing_on(connection))
            # alembic leaves open what it finds open.
            connection.rollback()
            _run_steps(connection)
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) not in _TO_BE_REPEATED:
                raise
            return False
        except PendingRollbackError as error:
            # On its way out alembic asks a connection that is gone, which would hide why it is.
            raise error.__context__ or error from None
    return True


def _run_steps(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        transaction_per_migration=True,
        compare_server_default=True,
        include_name=_is_ours,
    )
    with context.begin_transaction():
        context.run_migrations()


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    # The last version's, or that of others.
    return (kind, name) != ("table", LAST_VERSION_TABLE)
