"""What is demanded of PostgreSQL before rows are trusted to it, beyond that it answers."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import func, select

from worker.domain.errors import ConfigurationError, Outage
from worker.store.engine import Database
from worker.store.refusals import is_of_options, is_of_the_database

_STANDBY = (
    "DATABASE_URL: leads to a standby, which takes no rows; name the primary,"
    " or all of them with target_session_attrs=read-write"
)
_STATEMENT_POOLING = (
    "DATABASE_URL: leads to PgBouncer in statement pooling mode, which has no transactions;"
    " set its pool_mode to transaction or session"
)
_NO_SUCH_DATABASE = (
    "DATABASE_URL: leads to a database that is not there; create it, or name one that the server,"
    " or the pooler before it, knows"
)


@contextmanager
def demands() -> Iterator[None]:
    """Raise ConfigurationError, with the way out, in place of an Outage that no waiting ends."""
    try:
        yield
    except Outage as outage:
        if "statement pooling mode" in outage.reason:
            raise ConfigurationError(_STATEMENT_POOLING) from None
        error = getattr(outage.__cause__, "orig", None)
        if is_of_the_database(error):
            raise ConfigurationError(f"{_NO_SUCH_DATABASE}: {outage.reason}") from None
        if is_of_options(error):
            raise ConfigurationError(f"DATABASE_URL: can't be used as it is: {outage.reason}") from None
        raise


def require_postgresql(database: Database) -> None:
    """Return when the server answers. Raises Outage, and ConfigurationError where no waiting ends that."""
    with demands():
        database.ping()


def require_fit(database: Database) -> None:
    """Return when the server answers and takes rows.

    Raises Outage, and ConfigurationError where no waiting ends that.
    """
    with demands(), database.transaction() as connection:
        is_standby = connection.scalar(select(func.pg_is_in_recovery()))
    if is_standby:
        raise ConfigurationError(_STANDBY)
