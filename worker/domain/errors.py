"""Everything that can go wrong, by what the worker does about it.

WorkerError
├── Outage              a server is away: wait, keep what is in hand, charge nobody
│   ├── AccessDenied        it answers but not to us: at start a person must mend that, later it is an outage
│   ├── TimedOut            PostgreSQL took too long over what it was given: with less the next try may work
│   ├── OutOfMemory         Redis takes nothing more, until what nobody needs is let go
│   └── VenueUnavailable    the executor's venue is away: the same
├── Refused             the database answers, and won't do what it was asked for: nobody expected that
│   └── RowRefused          it will never take this row: bury one order, keep its batch
├── Stopped             a part the worker can't do without has died: leave, others take over
└── ConfigurationError  nothing can be done before a person has mended it: leave at start
    └── SchemaBehind        the tables are older than this version: migrate
"""


class WorkerError(Exception):
    """Root of the tree."""


class Outage(WorkerError):
    """A server can't be used now; whatever was being done has unknown effect and is repeatable."""

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(f"{server}: {reason}")
        self.server = server
        self.reason = reason


class AccessDenied(Outage):
    """A server refuses our name, password or permissions."""


class TimedOut(Outage):
    """PostgreSQL answers, and gave up what it was asked for when its time was over."""


class OutOfMemory(Outage):
    """Redis answers, has lost nothing, and refuses whatever needs memory; letting go is allowed."""


class VenueUnavailable(Outage):
    """Raised by an executor before any effect: its venue can't take orders now."""

    def __init__(self, reason: str) -> None:
        super().__init__("venue", reason)


class Refused(WorkerError):
    """PostgreSQL answers, and refuses a statement; nothing was written.

    It may be the fault of a row, or of all of the tables.
    """


class RowRefused(Refused):
    """At least one row breaks a constraint, or can't be stored as data or read; nothing was written."""


class Stopped(WorkerError):
    """A thread the loop relies on has ended; the process must leave so that another can take over."""


class ConfigurationError(WorkerError):
    """One line per thing that a person has to mend; carries no secret."""


class SchemaBehind(ConfigurationError):
    """The database has not been migrated to what this version needs."""


MOST_TOLD = 300


def named(error: Exception) -> str:
    """Return an error in one line: its type, and what it says, shortened."""
    return f"{type(error).__name__}: {error}"[:MOST_TOLD]
