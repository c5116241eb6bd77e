"""What repairs and audits need of the rooms around them.

What speaks to a server raises Outage when that is away.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Protocol, TypeAlias

from worker.domain.deliveries import Restoration, Settlement, Settling
from worker.domain.evidence import (
    Buried,
    BuriedEntry,
    Fate,
    LostRow,
    Marked,
    Owner,
    PublishedResult,
    StandingRow,
)
from worker.domain.orders import OrderRecord
from worker.domain.ports import Entry, Rounds

# The last step of an entry: publish or bury, and ack.
Settle: TypeAlias = Callable[[Sequence[Settlement]], Settling]


class Extent(Protocol):
    """How far a stream reaches."""

    @property
    def first(self) -> str:
        """The first id, `0-0` where it is empty."""

    @property
    def last(self) -> str:
        """The last id, `0-0` where it is empty."""

    @property
    def length(self) -> int:
        """How many entries there are."""

    def may_be_trimmed(self, least_kept: int) -> bool:
        """Whether retention, which leaves so many at least (0: all of them), may have trimmed it."""


class Streams(Protocol):
    """What the streams hold."""

    def fates(self, entry_ids: Sequence[str]) -> dict[str, Fate]:
        """Tell how entries stand, all of them at one instant."""

    def orders(self) -> Extent:
        """Return how far the orders stream reaches."""

    def results(self) -> Extent:
        """Return how far the results reach."""

    def letters(self) -> Extent:
        """Return how far the dead letters reach."""

    def results_lost_until_ms(self) -> int:
        """Return the unix milliseconds up to which results may have been trimmed or deleted; 0: none were."""

    def counts_results(self) -> bool:
        """Whether the server counts what was ever added, and so can tell whether a result is gone."""

    def letters_gone_until_ms(self) -> int:
        """Return the unix milliseconds up to which closed dead letters may have been let go; 0: none were."""

    def last_result(self) -> str:
        """Return the id that was given to a result last, `0-0` where there was none."""

    def unknown(self) -> Iterator[Sequence[str]]:
        """Yield the entries of which nobody can know whether their results were published."""

    def order_pages(self, first: str, last: str) -> Iterator[Sequence[Entry]]:
        """Yield the orders from one id up to another."""

    def result_pages(self, first: str, last: str) -> Iterator[Sequence[Entry]]:
        """Yield the results from one id up to another; an id with `(` before it is left out."""

    def letter_pages(self, first: str, last: str) -> Iterator[Sequence[Entry]]:
        """Yield the dead letters from one id up to another; an id with `(` before it is left out."""

    def entries(self, entry_ids: Sequence[str]) -> dict[str, tuple[bytes, ...]]:
        """Return the fields of those that are on the orders stream."""

    def result(self, result_id: str) -> tuple[bytes, ...]:
        """Return the fields of one result, none where it is gone."""


class Rows(Protocol):
    """What the table holds."""

    @property
    def connections(self) -> int:
        """How often PostgreSQL was connected to: it may be another server since it last was."""

    def now(self) -> datetime:
        """Return the time of the database."""

    def recorded_until(self) -> datetime:
        """Return up to when rows are recorded: now, or later where its clock was set back since."""

    def expected_rows(self) -> int:
        """Return about how many rows there are."""

    def pages(self, *, from_entry: str, recorded_until: datetime) -> Iterator[list[OrderRecord]]:
        """Yield the rows recorded up to a time with entry ids not before one, in order of their spelling."""

    def recorded(self, after: Owner, until: datetime, count: int) -> list[Owner]:
        """Return the first rows with an outcome recorded after one and up to a time, the oldest first."""

    def owned(self, entry_ids: Sequence[str]) -> dict[str, str]:
        """Return the order ids of the rows that these entries own, by entry id."""

    def owned_by_source(self, entry_ids: Sequence[str]) -> dict[str, str]:
        """Return the order ids of the rows of our source that these entries own, by entry id."""

    def pruned_days(self) -> Mapping[date, int]:
        """Return on which days entries were added whose rows were pruned, and how many had results."""

    def standing(self, order_ids: Sequence[str]) -> dict[str, StandingRow]:
        """Return whose the rows of those orders are that have one whose result stands where ours do."""

    def rows(self, order_ids: Sequence[str]) -> dict[str, OrderRecord]:
        """Return the rows of orders that are of our source, by order id."""

    def rows_of_entries(self, entry_ids: Sequence[str]) -> dict[str, OrderRecord]:
        """Return the rows that entries own, by entry id."""

    def streams_lately(self) -> int:
        """Return how many streams were worked on as our source in the last minute, and may still be."""

    def alone(self) -> bool:
        """Whether no other source than ours was ever seen in this database."""

    def of_other_sources(self, order_ids: Sequence[str]) -> set[str]:
        """Return those of the orders whose rows are of other sources."""


class Marks(Protocol):
    """The settled marks as a whole."""

    def state(self) -> Marked:
        """Return what marks tell."""

    def remember(self, entry_ids: Sequence[str], known: Marked) -> bool:
        """Mark entries as settled, and what is known of all; False where the marks were lost meanwhile."""

    def begin_walk(self) -> bool:
        """Become the one who reads the results, or stay it."""

    def end_walk(self) -> None:
        """Let others read them."""


class Memory(Protocol):
    """What was seen and must be remembered, outside of memory."""

    def add_results(self, results: Iterable[tuple[str, str, bytes, str]]) -> None:
        """Remember results: order id, result id, digest and entry id, in the order of the stream."""

    def add_letters(self, letters: Iterable[tuple[str, Buried]]) -> None:
        """Remember dead letters: their ids, and what they say of the entries they bury."""

    def make_searchable(self) -> None:
        """Call once, when most of it has been added and before anything is asked for."""

    def results(
        self, order_ids: Sequence[str], pruned: Callable[[str, str], bool] = ...
    ) -> dict[str, PublishedResult]:
        """Return what is remembered of the results of these orders, and note that somebody asked.

        Left out is what `pruned` says of an order and the entry that its result names.
        """

    def letters(self, marks: Iterable[str], *, conflicts: bool) -> dict[str, BuriedEntry]:
        """Return what is remembered of the dead letters of what has these marks, by mark.

        Those of conflicts are among them or not.
        """

    def suspect_orders(self, order_ids: Iterable[str]) -> None:
        """Remember orders that must be looked at again."""

    def suspect_entries(self, entry_ids: Iterable[str]) -> None:
        """Remember entries that must be looked at again."""

    def suspect_unseen_results(self) -> None:
        """Remember the orders that have a result and that nobody has asked for."""

    def suspected_orders(self, count: int) -> Iterator[list[str]]:
        """Yield the orders to look at again, so many at a time."""

    def suspected_entries(self, count: int) -> Iterator[list[str]]:
        """Yield the entries to look at again, so many at a time."""

    def suspects(self) -> int:
        """Return how many there are to look at again."""


class Spelling(Protocol):
    """What the fields on the streams say."""

    def named(self, fields: Sequence[bytes]) -> tuple[str, str] | None:
        """Return the entry and the order that a result names; None where it names no entry."""

    def result_of(self, fields: Sequence[bytes]) -> tuple[str, bytes, str]:
        """Return the order that a result names (empty: none), the digest of all it says, and its entry."""

    def digest_of(self, record: OrderRecord) -> bytes:
        """Return the digest of the result that a row would have."""

    def buried(self, fields: Sequence[bytes]) -> Buried | None:
        """Return what a dead letter says of its entry; None where it names none, or is of another source."""

    def differences(self, fields: Sequence[bytes], record: OrderRecord) -> list[str]:
        """Return the names of the fields in which a result differs from that of a row."""

    def timestamp(self, fields: Sequence[bytes]) -> str:
        """Return when a result says that its order was executed."""


class Mending(Protocol):
    """Gives back what was lost. Every step is repeatable, and harmless beside others that do the same.

    A replica's own repair needs no announcement: it gives nothing out once more.
    """

    def begin(self) -> None:
        """Announce a repair, before anything is looked at that it will rely on."""

    def end(self) -> None:
        """Take the announcement back."""

    def go_on(self) -> None:
        """Announce that it is still at work."""

    def restore(self, restorations: Sequence[Restoration]) -> list[bool]:
        """Publish, bury or mark what is not settled as far as Redis knows, and in nobody's hands.

        Return which were.
        """

    def readopt(self, entry_ids: Sequence[str]) -> list[str]:
        """Make entries pending again that nobody holds; return those that were made."""

    def note(self, report: Mapping[str, str]) -> None:
        """Leave a note of the last repair, for people."""


class Book(Protocol):
    """What the fleet knows of lost rows, and who looks for them."""

    @property
    def rounds(self) -> Rounds:
        """What looks there were, and whose turn it is.

        Each look says from which time on it looked, in unix milliseconds.
        """

    def end(self, look: int, from_ms: int) -> None:
        """Note that a look has ended, which began with what was published at a time."""

    def note(self, lost: Sequence[LostRow]) -> int:
        """Note lost rows that nobody has accepted; return how many are new."""

    def page(self, first: int) -> list[tuple[str, str]]:
        """Return entries and order ids of what is noted, from a place on; none where there are no more."""

    def take_back(self, mended: Sequence[tuple[str, str]]) -> None:
        """Take back what is noted: their rows are there again."""
