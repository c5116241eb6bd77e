"""What PostgreSQL tells of the database of one deployment, as pages and people are shown it."""

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct


class SchemaState(Enum):
    """Where a database stands against the revisions this version knows."""

    CURRENT = "current"
    BEHIND = "behind"
    NEWER = "newer"
    # It can't be migrated either before a person has mended it.
    OBSTRUCTED = "obstructed"


class Obstacle(Struct, frozen=True):
    """What is in the way of the worker's tables, and the SQL that shows the worker a way round it."""

    what: str
    remedy: str

    def __str__(self) -> str:
        """Both in one line."""
        return f"{self.what}: {self.remedy}"


class SchemaStanding(Struct, frozen=True):
    """The state of the schema, and where it is OBSTRUCTED, by what."""

    state: SchemaState
    obstacle: Obstacle | None = None

    @property
    def is_usable(self) -> bool:
        """Whether orders can be recorded in its tables."""
        return self.state in {SchemaState.CURRENT, SchemaState.NEWER}


class Took(Struct, frozen=True):
    """How long the newest orders of the last minute took, from entry id to row, in milliseconds.

    Two clocks tell: that of Redis, and that of PostgreSQL.
    """

    median_ms: float
    p95_ms: float


class TablesState(Struct, frozen=True):
    """The tables of one deployment, and the server that holds them.

    Counts above 10,000 are PostgreSQL's own estimate. `took` is None where nothing was recorded lately.
    `may_change_rows` names what others have made that may store rows otherwise than they are written, or not
    at all; `may_hide_rows` what may leave rows out of what the role that asked is told; `volatile` the
    settings, and the unlogged tables, by which the server may lose what it has committed.
    """

    version: str
    volatile: str
    orders: int
    trades: int
    counts_exact: bool
    may_change_rows: tuple[str, ...] = ()
    took: Took | None = None
    may_hide_rows: tuple[str, ...] = ()


class DatabaseState(Struct, frozen=True):
    """The database of one deployment; without a usable schema there are no tables to tell of."""

    schema: SchemaStanding
    tables: TablesState | None = None


class Outcomes(Struct, frozen=True):
    """Rows by status, of the last hour or its newest 100,000 where not `all`; and those without an outcome.

    `submitted` are the orders among those asked about that were handed to a venue which has not answered, one
    of them by name.
    """

    last_hour: Mapping[str, int]
    all: bool
    submitted: int
    oldest_submitted_age_s: float | None
    a_submitted: str | None
    last_recorded_age_s: float | None
