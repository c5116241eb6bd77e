"""Where a database stands against the revisions this version knows.

It is found without alembic, which a replica never needs.
"""

from functools import cache
from importlib.resources import files
from pathlib import Path

from sqlalchemy import Connection, column, func, select, table

from worker.domain.database_state import SchemaStanding, SchemaState
from worker.domain.errors import ConfigurationError, SchemaBehind
from worker.store.engine import Database
from worker.store.ground import VERSION_TABLE, obstacle
from worker.store.unseen import require_seen

_versions = table(VERSION_TABLE, column("version_num"))
_is_there = select(func.to_regclass(_versions.name).is_not(None))
_heads = select(_versions.c.version_num)


@cache
def known_revisions() -> tuple[str, ...]:
    """Return the revisions this version knows, the newest last.

    A file is called by its number and what it does.
    """
    return tuple(sorted(file.stem.partition("_")[0] for file in (location() / "versions").glob("*.py")))


def location() -> Path:
    """Return where the migrations are: in the package once it is installed, else beside it."""
    package = Path(str(files("worker")))
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parent / "alembic"


def schema_state(database: Database) -> SchemaState:
    """Compare the database with the newest revision; a revision unknown here is a newer one."""
    return standing(database).state


def standing(database: Database) -> SchemaStanding:
    """The same, with what is in the way."""
    with database.transaction() as connection:
        found = standing_on(connection)
        if found.state is not SchemaState.CURRENT:
            # A session keeps the search path that its role had when it began: whoever looks again needs
            # another one.
            connection.detach()
    return found


def standing_on(connection: Connection) -> SchemaStanding:
    """The same, within a transaction."""
    here = _recorded(connection)
    state = _state(here)
    in_the_way = obstacle(connection, recorded=bool(here)) if state is SchemaState.BEHIND else None
    if in_the_way is None:
        return SchemaStanding(state)
    if _recorded(connection) != here:
        # Somebody has migrated meanwhile: the tables that are in the way are ours.
        return standing_on(connection)
    return SchemaStanding(SchemaState.OBSTRUCTED, in_the_way)


def _recorded(connection: Connection) -> set[str]:
    return set(connection.scalars(_heads)) if connection.scalar(_is_there) else set()


def _state(here: set[str]) -> SchemaState:
    known = known_revisions()
    if here == {known[-1]}:
        return SchemaState.CURRENT
    return SchemaState.BEHIND if here <= set(known) else SchemaState.NEWER


def require_current(database: Database) -> SchemaState:
    """Return unless the schema is behind, or rows may be hidden from us.

    Whoever counts on all rows begins with this. Raises SchemaBehind with the command that mends it,
    AccessDenied, or ConfigurationError.
    """
    with database.transaction() as connection:
        require_seen(connection)
    found = standing(database)
    require_way(found)
    if found.state is SchemaState.BEHIND:
        raise SchemaBehind(
            "the database schema is behind this version: run `worker migrate` (or `make migrate`)"
        )
    return found.state


def require_way(found: SchemaStanding) -> None:
    """Raise ConfigurationError where something is in the way of the tables."""
    if found.obstacle is not None:
        raise ConfigurationError(str(found.obstacle))
