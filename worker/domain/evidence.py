"""What an audit knows of one order, and what it can find wrong with it."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from worker.domain.deliveries import entry_order, is_entry_id


class Invariant(StrEnum):
    """What an audit proves, known to people by its code."""

    NO_ENTRY_LOST = "I1"
    ROW_OR_LETTER = "I2"
    TRADES_ADD_UP = "I3"
    ONE_RESULT = "I4"
    RESULT_AS_ROW = "I5"


class Remedy(StrEnum):
    """What a repair does about a finding."""

    PUBLISH = "publish"
    BURY = "bury"
    MARK = "mark"
    REPUBLISH = "republish"
    REBURY = "rebury"
    READOPT = "readopt"

    @property
    def again(self) -> bool:
        """Whether it gives out once more what was given out before."""
        return self in {Remedy.REPUBLISH, Remedy.REBURY}


class Marked(Struct, frozen=True):
    """What is known of all settled marks; times in unix milliseconds, None where nothing is said.

    `made` tells these marks from others that took their place. What was published, or buried, since a time
    has its mark, unless it is below the horizon. All that is on the streams since `walked_since_ms` was
    looked through.
    """

    made: str = ""
    results_since_ms: int | None = None
    letters_since_ms: int | None = None
    walked_since_ms: int | None = None


NOTHING_LOST = Marked(results_since_ms=0, letters_since_ms=0)


class Fate(Struct, frozen=True):
    """How an entry stands on the orders stream, at one instant.

    `waiting` is to be delivered, `noted` was trimmed while it was pending and is still to be asked about,
    `marked` is settled; of an entry that is `old` nobody knows, since marks of its age have been dropped, and
    nobody knows of what may have been given out before the `marks` were complete. Where it is `unknown` that
    was asked, and can't be known.
    """

    pending: bool = False
    waiting: bool = False
    noted: bool = False
    marked: bool = False
    old: bool = False
    unknown: bool = False
    marks: Marked = NOTHING_LOST

    @property
    def in_flight(self) -> bool:
        """Whether somebody works on it or will."""
        return self.pending or self.waiting or self.noted

    @property
    def unmarked(self) -> bool:
        """Whether it has no mark though it would be kept."""
        return not (self.marked or self.old)

    @property
    def past(self) -> bool:
        """Whether it is settled for so long that nothing of it is kept: no other's row is ever pruned."""
        return self.old and not (self.marked or self.unknown or self.in_flight)

    def settled(self, since_ms: int, *, buried: bool = False) -> bool | None:
        """Whether what stands since a time was published, or buried; None where marks can't tell."""
        if self.marked:
            return True
        complete_ms = self.marks.letters_since_ms if buried else self.marks.results_since_ms
        return None if self.old or since_ms < (complete_ms or 0) else False


class StandingRow(Struct, frozen=True):
    """Which entry the row of an order belongs to, empty where that is of another stream, and what it held."""

    entry_id: str
    fingerprint: bytes

    def came_after(self, entry_id: str) -> bool:
        """Whether that entry is later: it was replayed, and may say something else than was asked before."""
        return is_entry_id(self.entry_id) and entry_order(entry_id) < entry_order(self.entry_id)


class PublishedResult(Struct, frozen=True):
    """What the results stream holds of one order: how often, first where, and what the first says.

    That is the digest of all of it, and the entry that it names.
    """

    result_id: str
    digest: bytes
    times: int
    entry_id: str = ""


class BuriedEntry(Struct, frozen=True):
    """What the dead letters hold of what was marked as one: how often, first where."""

    letter_id: str
    times: int
    mark: str


def by_mark(letters: Sequence[tuple[str, str]]) -> dict[str, BuriedEntry]:
    """Return what dead letters hold, by mark: of each its mark and its id are given, the oldest first."""
    times = Counter(mark for mark, _ in letters)
    # Backwards, so that the first of a mark stays.
    return {mark: BuriedEntry(letter_id, times[mark], mark) for mark, letter_id in reversed(letters)}


class Buried(Struct, frozen=True):
    """What a dead letter says of its entry: what that was marked as, whether it is of a conflict.

    Letters of the version before do not say whose they are: then it is not `sourced`.
    """

    entry_id: str
    mark: str
    conflict: bool
    sourced: bool


class Finding(Struct, frozen=True):
    """One invariant that one order or entry breaks, in words; `remedy` is what a repair does, if anything.

    `otherwise` is what it does where nothing is to be given out that may have been given out before.
    `looked_for` says that marks can't tell, and that everything that was given out was read instead.
    """

    invariant: Invariant
    entry_id: str | None
    order_id: str | None
    what: str
    remedy: Remedy | None = None
    otherwise: Remedy | None = None
    looked_for: bool = False
    # What is marked: before anything else is done about it, or alone, where that is not the entry id.
    mark: str = ""

    @property
    def again(self) -> bool:
        """Whether its remedy gives out once more what was given out before."""
        return self.remedy is not None and self.remedy.again

    def remedy_where(self, *, republish: bool) -> Remedy | None:
        """Return what a repair does about it, if it may give out again what was given out before or not."""
        return self.otherwise if self.again and not republish else self.remedy

    def can_be_mended(self, *, republish: bool) -> bool:
        """Whether a repair does anything about it; what was given out before, only where asked for."""
        return self.remedy_where(republish=republish) is not None


class LostRow(Struct, frozen=True):
    """An entry whose result was published and whose row is gone: the order the result names, and its id."""

    entry_id: str
    order_id: str
    result_id: str


class Owner(Struct, frozen=True):
    """A row as repairs page through them: the entry that owns it, in the order of recording."""

    recorded_at: datetime
    entry_id: str


class Repaired(Struct):
    """What a repair did, and what it left to people."""

    looked_at: int = 0
    published: int = 0
    buried: int = 0
    marked: int = 0
    made_pending: int = 0
    left_alone: int = 0
    skipped: int = 0
