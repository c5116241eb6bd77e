"""What SQLAlchemy raises, told apart by what the worker does about it.

The code tells it, whatever language the server speaks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from worker.domain.errors import AccessDenied, Outage, Refused, RowRefused, TimedOut
from worker.store.refusals import is_refusal
from worker.store.tables import OUR_CONSTRAINTS


class AlreadyThere(RowRefused):
    """A row of this order, or of this entry, is there: a unique key of ours says so."""


# A program limit exceeded: an index row too large, say. The driver counts these with servers that are away.
_LIMIT_EXCEEDED = "54"
# Of a statement, or from 17 on of the whole transaction. Who waits for a lock has another code.
_TIME_IS_OVER = ("57014", "25P04")
# Classes of what passes, or has to be mended on the server: connections, transactions that can't go on, names
# and passwords, databases and schemas that are not there, serialization, tables that are not as they were
# made, lack of resources, states of objects (locks), operators, the system around it.
_OF_THE_SERVER = ("08", "25", "26", "28", "3D", "3F", "40", "42", "53", "55", "57", "58")


# An error of a statement leaves the session as it was. One of these ends it: a server that is going down, and
# a pooler that has no session to lend, with whatever code (Supavisor and Pgpool-II say XX000).
_ENDS_THE_SESSION = {"FATAL", "PANIC"}


def is_of_the_rows(error: SQLAlchemyError) -> bool:
    """Whether what was sent is at fault, and not the server."""
    if has_ended_the_session(error):
        return False
    return isinstance(error, (IntegrityError, DataError)) or (code(error) or "").startswith(_LIMIT_EXCEEDED)


def is_of_nobody_knows_what(error: SQLAlchemyError) -> bool:
    """Whether the server answers, and neither is it away nor a row said to be at fault.

    So it is where a trigger raises, or a page is corrupt.
    """
    state = code(error)
    if state is None or has_ended_the_session(error) or is_of_the_rows(error):
        return False
    return not state.startswith(_OF_THE_SERVER)


def has_ended_the_session(error: SQLAlchemyError) -> bool:
    """Whether there is no session any more, by the severity or since the connection is closed.

    A pooler may leave out the severity that is in no language.
    """
    if not isinstance(error, DBAPIError):
        return False
    said = getattr(error.orig, "diag", None)
    return error.connection_invalidated or getattr(said, "severity_nonlocalized", None) in _ENDS_THE_SESSION


def _refuses(error: SQLAlchemyError) -> bool:
    return isinstance(error, DBAPIError) and is_refusal(error.orig)


def code(error: SQLAlchemyError) -> str | None:
    """Return the SQLSTATE of an error, None where the server said none."""
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return state if isinstance(state, str) else None


def constraint_of(error: SQLAlchemyError) -> str | None:
    """Return the name of the constraint that a row breaks, None where the server named none."""
    said = getattr(error.orig, "diag", None) if isinstance(error, DBAPIError) else None
    return None if said is None else said.constraint_name


@contextmanager
def outages() -> Iterator[None]:
    """Translate whatever SQLAlchemy raises.

    That is RowRefused where the data is at fault, Refused where anything may be, else Outage.
    """
    try:
        yield
    except SQLAlchemyError as error:
        reason = reason_of(error)
        if is_of_the_rows(error):
            raise (AlreadyThere if constraint_of(error) in OUR_CONSTRAINTS else RowRefused)(reason) from error
        if is_of_nobody_knows_what(error):
            raise Refused(reason) from error
        if code(error) in _TIME_IS_OVER:
            raise TimedOut("postgresql", reason) from error
        raise (AccessDenied if _refuses(error) else Outage)("postgresql", reason) from error


@contextmanager
def ended_in_time(limit_s: float) -> Iterator[None]:
    """Raise TimedOut where a session has ended for no known reason after the time that the server gives it.

    Behind a pooler the reason may get lost.
    """
    over = monotonic() + limit_s
    try:
        yield
    except SQLAlchemyError as error:
        if has_ended_the_session(error) and code(error) is None and monotonic() >= over:
            why = f"{reason_of(error)}, when its time was over (WORKER_TRANSACTION_TIMEOUT_S)"
            raise TimedOut("postgresql", why) from error
        raise


def reason_of(error: SQLAlchemyError) -> str:
    """Return an error in one line that quotes no row."""
    if not isinstance(error, DBAPIError):
        return f"{type(error).__name__}: {error}"[:300]
    # The first line alone: the others quote the row.
    first = str(error.orig).partition("\n")[0]
    state = code(error)
    return f"{type(error.orig).__name__}{f' {state}' if state else ''}: {first}"[:300]
