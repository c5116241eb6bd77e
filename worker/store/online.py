"""Steps of migrations that go on beside the work: each may be repeated from wherever it was interrupted."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import IntegrityError

# For the session, as there is no transaction: behind a pooler it may be somebody else's next, so only what
# has to be.
_LIMITS = "name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout')"
_LIFT = (
    "SELECT set_config(name, '0', false) FROM pg_settings"  # noqa: S608  ours
    f" WHERE {_LIMITS} AND setting <> '0'"
)
_RESTORE = (
    "SELECT set_config(name, reset_val, false) FROM pg_settings"  # noqa: S608  ours
    f" WHERE {_LIMITS} AND setting <> reset_val"
)

_schema = sa.text("SELECT current_schema()")
_is_valid = sa.text(
    "SELECT indisvalid FROM pg_index"
    " WHERE indexrelid = to_regclass(format('%I.%I', CAST(:schema AS text), CAST(:name AS text)))"
)


def add_missing_columns(table: str, *columns: sa.Column[Any]) -> None:
    """Add the columns that are not there; where all of them are, no lock is asked for."""
    there = {each["name"] for each in sa.inspect(op.get_bind()).get_columns(table)}
    for column in columns:
        if column.name not in there:
            op.add_column(table, column)


def build_unique_index(name: str, table: str, columns: Sequence[str]) -> None:
    """Have a unique index while others write to the table; commits what was done before.

    It ends once every transaction has that was open on its way. Raises IntegrityError where rows are not
    unique; then there is no index.
    """
    # Outside of transactions each statement may find another search path.
    schema = op.get_bind().scalar(_schema)
    with _outside_of_transactions():
        valid = op.get_bind().scalar(_is_valid, {"schema": schema, "name": name})
        if valid:
            return
        if valid is not None:
            # What an interrupted build has left: each write to the table keeps it up, and no query may use
            # it.
            _drop_index(name, table, schema)
        try:
            op.create_index(name, table, columns, schema=schema, unique=True, postgresql_concurrently=True)
        except IntegrityError:
            _drop_index(name, table, schema)
            raise


def _drop_index(name: str, table: str, schema: str | None) -> None:
    op.drop_index(name, table, schema=schema, postgresql_concurrently=True, if_exists=True)


@contextmanager
def _outside_of_transactions() -> Iterator[None]:
    with op.get_context().autocommit_block():
        op.execute(_LIFT)
        try:
            yield
        finally:
            if not op.get_bind().invalidated:
                op.execute(_RESTORE)
