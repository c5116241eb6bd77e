"""What is demanded of PostgreSQL before rows are trusted to it, beyond that it answers."""

from sqlalchemy import func, select

from worker.domain.errors import ConfigurationError, Outage
from worker.store.engine import Database
from worker.store.refusals import is_of_options

_STANDBY = "DATABASE_URL: leads to a standby, which takes no rows; name the primary, or all of them with target_session_attrs=read-write"
_STATEMENT_POOLING = "DATABASE_URL: leads to PgBouncer in statement pooling mode, which has no transactions; set its pool_mode to transaction or session"


def require_fit(database: Database) -> None:
    """Raise ConfigurationError, with the way out, where a person has to mend something first; Outage where it does not answer."""
    try:
        with database.transaction() as connection:
            is_standby = connection.scalar(select(func.pg_is_in_recovery()))
    except Outage as outage:
        if "statement pooling mode" in outage.reason:
            raise ConfigurationError(_STATEMENT_POOLING) from None
        if is_of_options(getattr(outage.__cause__, "orig", None)):
            raise ConfigurationError(f"DATABASE_URL: can't be used as it is: {outage.reason}") from None
        raise
    if is_standby:
        raise ConfigurationError(_STANDBY)
