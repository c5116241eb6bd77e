"""Dead letters as people see them: in a list, in full, beside the order they conflict with, and as replays.

Nothing in these is secret: what is hidden by name was hidden by whoever made them.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum

from msgspec import Struct

from worker.domain.fleets import LONGEST_SOURCE
from worker.domain.letters import DISCARDED, OPEN, REPLAYED, LetterState, state_of

CLOSED = frozenset({REPLAYED, DISCARDED})
# What may be asked for.
STATES = (OPEN, REPLAYED, DISCARDED, "closed", "all")


class Wanted(Struct, frozen=True):
    """Which letters are wanted.

    They are in a state (`closed`: replayed or discarded, `all`), of one of some reasons (none: of any), and
    were buried since a unix time in milliseconds; of `ours_alone`, or also of other fleets that bury on the
    same stream.
    """

    state: str = OPEN
    reasons: Collection[str] = ()
    since_ms: int = 0
    ours_alone: bool = False

    def fits(self, state: str, reason: str, other_source: str | None) -> bool:
        """Whether a letter of this state, reason and source is one of them, whenever it was buried."""
        if self.ours_alone and other_source is not None:
            return False
        in_state = self.state in {"all", state} or (self.state == "closed" and state in CLOSED)
        return in_state and (not self.reasons or reason in self.reasons)


class LetterLine(Struct, frozen=True):
    """A letter in a list: what it says of itself, and how it was closed, if it was.

    `other_source` is whose it is where that is not ours.
    """

    letter_id: str
    buried: str
    notes: Mapping[str, str]
    closed: LetterState | None
    other_source: str | None = None

    @property
    def state(self) -> str:
        """open, replayed or discarded."""
        return state_of(self.closed)

    @property
    def not_ours(self) -> str | None:
        """Why nobody closes it here, and who does; None where it is ours."""
        if self.other_source is None:
            return None
        source = self.other_source[:LONGEST_SOURCE]
        return (
            f"it is of another fleet, whose source is {source!r}: replay or discard it with the settings of"
            " that fleet (its WORKER_ORDERS_STREAM, and its WORKER_SOURCE where that is set)"
        )

    @property
    def reason(self) -> str:
        """Why the entry was buried."""
        return self.notes.get("reason", "-")

    @property
    def order_id(self) -> str:
        """The order, where the letter knows it."""
        return self.notes.get("order_id", "-")

    @property
    def entry_id(self) -> str:
        """The entry that was buried."""
        return self.notes.get("entry_id", "-")

    @property
    def error(self) -> str:
        """What went wrong, in words."""
        return self.notes.get("error", "-")


class LetterPage(Struct, frozen=True):
    """Some letters, newest first, and the letter behind which to go on looking (None: that was all)."""

    letters: tuple[LetterLine, ...]
    looked_at: int
    go_on_from: str | None = None


class ShownField(Struct, frozen=True):
    """A field of an entry, as text; `left_out` of its characters are not shown."""

    name: str
    value: str
    left_out: int = 0


class ComparedField(Struct, frozen=True):
    """A part of two orders; None where one does not say it.

    `differs` is None where the stored row has not kept what the order said there, since it was unusable.
    """

    name: str
    letter: str | None
    stored: str | None
    differs: bool | None


class Comparison(Struct, frozen=True):
    """The order of a letter beside the stored one of its id; `why` says why there is nothing to compare."""

    order_id: str
    stored_entry: str | None = None
    stored_status: str | None = None
    fields: tuple[ComparedField, ...] = ()
    why: str = ""


class Forecast(StrEnum):
    """What becomes of a replay, as far as can be told before."""

    REFUSED = "refused"
    EXECUTED = "executed"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    BURIED = "buried again"
    UNKNOWN = "unknown"


class ReplayPreview(Struct, frozen=True):
    """What a replay would add to the orders stream, and what would become of that."""

    forecast: Forecast
    why: str
    adds: tuple[ShownField, ...] = ()
    fields_left_out: int = 0
    deliveries: int = 0

    @property
    def budget(self) -> str:
        """What the replay does to the count of deliveries."""
        if not self.deliveries:
            return "nothing is added"
        return f"a new entry: its deliveries are counted from 0, up to {self.deliveries}"


class LetterInFull(Struct, frozen=True):
    """All that is known of one letter; `preview` is there while it is open, and ours."""

    line: LetterLine
    fields: tuple[ShownField, ...]
    fields_left_out: int = 0
    comparison: Comparison | None = None
    preview: ReplayPreview | None = None


class Outcome(StrEnum):
    """What came of closing a letter."""

    DONE = "done"
    ALREADY = "already"
    REFUSED = "refused"


class ClosingOutcome(Struct, frozen=True):
    """What came of closing one letter: the entry that was added, or why it was not closed by this call."""

    letter_id: str
    outcome: Outcome
    replayed_as: str | None = None
    why: str = ""
