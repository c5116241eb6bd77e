"""What pruning needs of the rooms around it. What speaks to a server raises Outage when that is away."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from worker.domain.evidence import Fate
from worker.domain.pruning import Candidate, ComingReplays, KeptFrom


class Streams(Protocol):
    """What the streams hold of entries, and from when on they may hold any."""

    def kept_from(self) -> KeptFrom | None:
        """Return from when on entries may come again; None where nobody can know that now."""

    def fates(self, entry_ids: Sequence[str]) -> dict[str, Fate]:
        """Tell how entries stand, all of them at one instant."""


class Letters(Protocol):
    """The dead letters."""

    def coming(self, kept: KeptFrom) -> ComingReplays | None:
        """Return of what replays may come, where entries may from a time on that was asked for just before.

        None where there are too many letters to look through.
        """


class Rows(Protocol):
    """The rows of our source."""

    def now(self) -> datetime:
        """Return the time of the database."""

    def alone(self) -> bool:
        """Whether no other source than ours was ever seen in this database."""

    def streams_lately(self) -> int:
        """Return how many streams were worked on as our source in the last minute, and may still be."""

    def page(self, after: Candidate | None, until: datetime, count: int) -> list[Candidate]:
        """Return the first rows behind one that stand as they are since before a time, the oldest first."""

    def remove(self, candidates: Sequence[Candidate], until: datetime) -> int:
        """Remove rows with their trades, and count them by day, in one transaction; return how many went.

        One that has changed or came again since it was looked at stays. Raises RowRefused where another table
        references one of them, Refused where one may not be deleted; nothing is removed then.
        """


class Exported(Protocol):
    """What was written to files before."""

    def holds(self, candidates: Sequence[Candidate]) -> Collection[str]:
        """Return the order ids of those that were written as they stand; asked for in the order of pages."""
