"""What SQLAlchemy raises, told apart by what the worker does about it: by code, whatever language the server speaks."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from worker.domain.errors import AccessDenied, Outage, RowRefused
from worker.store.refusals import is_refusal

# A program limit exceeded: an index row too large, say. The driver counts these with servers that are away.
_LIMIT_EXCEEDED = "54"


def is_of_the_rows(error: SQLAlchemyError) -> bool:
    """Whether what was sent is at fault, and not the server."""
    return isinstance(error, (IntegrityError, DataError)) or (code(error) or "").startswith(_LIMIT_EXCEEDED)


def code(error: SQLAlchemyError) -> str | None:
    """Return the SQLSTATE of an error, None where the server said none."""
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return state if isinstance(state, str) else None


@contextmanager
def outages() -> Iterator[None]:
    """Translate whatever SQLAlchemy raises: RowRefused where the data is at fault, else Outage."""
    try:
        yield
    except SQLAlchemyError as error:
        reason = reason_of(error)
        if is_of_the_rows(error):
            raise RowRefused(reason) from error
        refused = isinstance(error, DBAPIError) and is_refusal(error.orig)
        raise (AccessDenied if refused else Outage)("postgresql", reason) from error


def reason_of(error: SQLAlchemyError) -> str:
    """Return an error in one line that quotes no row."""
    if not isinstance(error, DBAPIError):
        return f"{type(error).__name__}: {error}"[:300]
    # The first line alone: the others quote the row.
    first = str(error.orig).partition("\n")[0]
    return f"{type(error.orig).__name__} {code(error) or 'without code'}: {first}"[:300]
