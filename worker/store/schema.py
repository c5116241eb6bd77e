"""Where a database stands against the revisions this version knows. Without alembic, which a replica never needs."""

from enum import Enum
from functools import cache
from importlib.resources import files
from pathlib import Path

from sqlalchemy import column, func, select, table

from worker.domain.errors import SchemaBehind
from worker.store.engine import Database

_versions = table("alembic_version", column("version_num"))
_is_there = select(func.to_regclass(_versions.name).is_not(None))
_heads = select(_versions.c.version_num)


class SchemaState(Enum):
    """Where a database stands against the revisions this version knows."""

    CURRENT = "current"
    BEHIND = "behind"
    NEWER = "newer"


@cache
def known_revisions() -> tuple[str, ...]:
    """Return the revisions this version knows, the newest last; a file is called by its number and what it does."""
    return tuple(sorted(file.stem.partition("_")[0] for file in (location() / "versions").glob("*.py")))


def location() -> Path:
    """Return where the migrations are: in the package once it is installed, else beside it."""
    package = Path(str(files("worker")))
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parent / "alembic"


def schema_state(database: Database) -> SchemaState:
    """Compare the database with the newest revision; a revision unknown here is a newer one."""
    with database.transaction() as connection:
        here = set(connection.scalars(_heads)) if connection.scalar(_is_there) else set[str]()
        state = _state(here)
        if state is not SchemaState.CURRENT:
            # A session keeps the search path that its role had when it began: whoever looks again needs another one.
            connection.detach()
    return state


def _state(here: set[str]) -> SchemaState:
    known = known_revisions()
    if here == {known[-1]}:
        return SchemaState.CURRENT
    return SchemaState.BEHIND if here <= set(known) else SchemaState.NEWER


def require_current(database: Database) -> SchemaState:
    """Return unless the schema is behind; raises SchemaBehind with the command that mends it."""
    state = schema_state(database)
    if state is SchemaState.BEHIND:
        raise SchemaBehind(
            "the database schema is behind this version: run `worker migrate` (or `make migrate`)"
        )
    return state
