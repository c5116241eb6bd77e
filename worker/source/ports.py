"""What is needed of the rooms around to tell whose a stream is.

Both servers' sides raise Outage when theirs is away.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from worker.domain.fleets import Foreign
from worker.domain.ports import Entry


class Token(Protocol):
    """What the streams are known by, wherever their names are used again."""

    def is_known(self) -> bool:
        """Whether the orders stream has a token: none where it was lost, or not moved with the stream."""

    def token(self) -> str:
        """Return that of the orders stream; where it was lost it is another."""

    def results_token(self) -> str:
        """Return that of the results stream."""


class Entries(Protocol):
    """What the orders stream holds."""

    def order_pages(self, first: str, last: str) -> Iterator[Sequence[Entry]]:
        """Yield the orders from one id up to another."""


class Sources(Protocol):
    """The book of sources, and their rows."""

    def seen(self, token: str, results_token: str) -> str | None:
        """Note that a stream is worked on as our source.

        Return the other source that it is, and then nothing is noted.
        """

    def gone(self, token: str) -> None:
        """Forget a stream that is not there any more."""

    def streams(self) -> int:
        """Return how many streams are worked on as our source."""

    def rows_of_others(self, entry_ids: Collection[str]) -> Sequence[Foreign]:
        """Return the rows that other sources have of entries of these ids."""
