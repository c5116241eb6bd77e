"""What a look for lost rows needs of the rooms around it. What speaks to a server raises Outage when that is away."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from worker.consumer.ports import Rounds
from worker.domain.evidence import Fate, LostRow


class Entry(Protocol):
    """One entry of a stream, names and values in turn."""

    @property
    def entry_id(self) -> str:
        """Its id."""

    @property
    def fields(self) -> tuple[bytes, ...]:
        """Names and values in turn."""


class Evidence(Protocol):
    """What the streams hold."""

    def last_result(self) -> str:
        """Return the id that was given to a result last, `0-0` where there was none."""

    def result_pages(self, first: str, last: str) -> Iterator[Sequence[Entry]]:
        """Yield the results from one id up to another; an id with `(` before it is left out."""

    def entries(self, entry_ids: Sequence[str]) -> dict[str, tuple[bytes, ...]]:
        """Return the fields of those that are on the orders stream."""

    def fates(self, entry_ids: Sequence[str]) -> dict[str, Fate]:
        """Tell how entries stand, all of them at one instant."""


class Rows(Protocol):
    """What the table holds."""

    @property
    def connections(self) -> int:
        """How often PostgreSQL was connected to: it may be another server since it last was."""

    def owned(self, entry_ids: Sequence[str]) -> dict[str, str]:
        """Return the order ids of the rows that these entries own, by entry id."""

    def of_other_sources(self, order_ids: Sequence[str]) -> set[str]:
        """Return those of the orders whose rows are of other sources."""

    def alone(self) -> bool:
        """Whether no other source than ours was ever seen in this database."""


class Spelling(Protocol):
    """What the fields on the streams say."""

    def named(self, fields: Sequence[bytes]) -> tuple[str, str] | None:
        """Return the entry and the order that a result names; None where it names no entry."""


class Book(Protocol):
    """What the fleet knows of lost rows, and who looks for them."""

    @property
    def rounds(self) -> Rounds:
        """What looks there were, and whose turn it is; each says from which time on it looked, in unix milliseconds."""

    def end(self, look: int, from_ms: int) -> None:
        """Note that a look has ended, which began with what was published at a time."""

    def note(self, lost: Sequence[LostRow]) -> int:
        """Note lost rows that nobody has accepted; return how many are new."""

    def page(self, first: int) -> list[tuple[str, str]]:
        """Return entries and order ids of what is noted, from a place on; none where there are no more."""

    def take_back(self, mended: Sequence[tuple[str, str]]) -> None:
        """Take back what is noted: their rows are there again."""
