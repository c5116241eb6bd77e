"""What is demanded of PostgreSQL before rows are trusted to it, beyond that it answers."""

import re

from sqlalchemy import func, select

from worker.domain.errors import ConfigurationError, Outage
from worker.store.engine import Database

_STANDBY = "DATABASE_URL: leads to a standby, which takes no rows; name the primary, or all of them with target_session_attrs=read-write"
_STATEMENT_POOLING = "DATABASE_URL: leads to PgBouncer in statement pooling mode, which has no transactions; set its pool_mode to transaction or session"
# No waiting ends these, as libpq and PgBouncer word them. While connecting they come without a code; what the server says for
# itself may be in another language, and is waited for then.
_LASTING = re.compile(
    r"""invalid\ ("?\w+"?\ value|value\ for\ parameter|integer\ value|port\ number|command-line\ argument)
    |unrecognized\ configuration\ parameter|unsupported\ startup\ parameter|definition\ of\ service|could\ not\ parse\ network
    |certificate\ (file|verify\ failed|present,\ but)|could\ not\ (read|load)\ .*(certificate|private\ key)|private\ key\ file
    |does\ not\ match\ host\ name|server\ does\ not\ support\ SSL|not\ compiled\ in""",
    re.VERBOSE,
)


def require_fit(database: Database) -> None:
    """Raise ConfigurationError, with the way out, where a person has to mend something first; Outage where it does not answer."""
    try:
        with database.transaction() as connection:
            is_standby = connection.scalar(select(func.pg_is_in_recovery()))
    except Outage as outage:
        if "statement pooling mode" in outage.reason:
            raise ConfigurationError(_STATEMENT_POOLING) from None
        if _LASTING.search(outage.reason):
            raise ConfigurationError(f"DATABASE_URL: can't be used as it is: {outage.reason}") from None
        raise
    if is_standby:
        raise ConfigurationError(_STANDBY)
