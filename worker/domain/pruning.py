"""Rows that are let go: which may, why others stay, and the day that a row is counted under."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from worker.domain.deliveries import entry_milliseconds
from worker.domain.orders import Status

# Producers are promised a longer window. What comes again later than this is noted beside its row, so that
# the row outlives it, whatever window those who prune were given.
LEAST_WINDOW_S = 3600
# Rows are dated by PostgreSQL, entries by Redis.
CLOCKS_APART_S = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END = datetime.max.replace(tzinfo=UTC)


class Refusal(StrEnum):
    """Why a row stays that is old enough to go."""

    WINDOW = "window"
    SUBMITTED = "submitted"
    LETTER_OPEN = "letter_open"
    REPLAYED = "replayed"
    IN_FLIGHT = "in_flight"
    UNKNOWN = "unknown"
    MARKED = "marked"
    UNSETTLED = "unsettled"
    UNSOURCED = "unsourced"
    STRANGE = "strange"
    NOT_EXPORTED = "not_exported"
    CHANGED = "changed"
    REFERENCED = "referenced"
    REFUSED = "refused"


class Candidate(Struct, frozen=True):
    """A row that is old enough: since when it stands as it is, whose it is, and what it says."""

    recorded_at: datetime
    entry_id: str
    order_id: str
    status: str
    unsourced: bool

    @property
    def has_result(self) -> bool:
        """Whether a result was published of it."""
        return self.status not in {Status.DEAD, Status.SUBMITTED}


class Named(Struct, frozen=True):
    """Which entries, and which orders, some dead letters name."""

    entries: frozenset[str] = frozenset()
    orders: frozenset[str] = frozenset()

    def has(self, row: Candidate) -> bool:
        """Whether they name the entry of a row, or its order."""
        return row.entry_id in self.entries or row.order_id in self.orders


class ComingReplays(Struct, frozen=True):
    """Of what replays may come.

    A person may replay the letters that are `open` any day; others were `replayed` as entries that may still
    be given to a group.
    """

    open: Named = Named()
    replayed: Named = Named()


class Pruned(Struct, frozen=True):
    """How many rows were let go, and how many of them had results, of orders that came between two days."""

    orders: int
    results: int
    first: date
    last: date


class KeptFrom(Struct, frozen=True):
    """The unix milliseconds before which no entry can come again: each is read, acked and trimmed."""

    entries_ms: int


class Step(Struct, frozen=True):
    """What came of one page of rows: how many went, why others stayed, and up to when rows may go at all.

    `until` is None where nobody can know that now. `through` is when the last that was looked at was
    recorded, `more` says that there may be others behind it, and `why` in the words of PostgreSQL why the
    first of those may not be deleted that may not.
    """

    until: datetime | None
    pruned: int = 0
    refused: Mapping[Refusal, int] = {}
    through: datetime | None = None
    why: str | None = None
    more: bool = False


def time_of(unix_ms: int) -> datetime:
    """Return a time that is given in unix milliseconds, the last there is where no calendar has it."""
    try:
        return _EPOCH + timedelta(milliseconds=unix_ms)
    except OverflowError:
        return _END


def day_of(entry_id: str) -> date | None:
    """Return the day, in UTC, on which an entry was added; None where no calendar has it."""
    at = time_of(entry_milliseconds(entry_id))
    return None if at == _END else at.date()
