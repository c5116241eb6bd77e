"""What pages ask of the rest of the worker."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from worker.domain.pruning import Pruned
from worker.domain.searching import FoundOrders, Search
from worker.ops.history import History
from worker.ops.pages.access import Access
from worker.ops.views import Identity, Views
from worker.ops.watching import Watched
from worker.status import Snapshot
from worker.status.letters import ClosingOutcome, LetterInFull, LetterPage, Wanted
from worker.status.story import Story


class Letters(Protocol):
    """The dead letters. Raises Outage where Redis can't be used."""

    def page(self, wanted: Wanted, *, behind: str | None, count: int) -> LetterPage:
        """Return at most so many of the letters that are wanted, newest first, from behind a letter on."""

    def in_full(self, letter_id: str) -> LetterInFull | None:
        """Return all that is known of a letter; None where there is none of this id."""

    def replay(self, letter_id: str, by: str, *, fresh: bool = False) -> ClosingOutcome:
        """Add the order of a letter again, and close the letter; both once, ever."""

    def discard(self, letter_id: str, by: str) -> ClosingOutcome:
        """Close a letter without adding anything, once, ever."""


class Orders(Protocol):
    """The orders. Raises Outage where a server does not answer, Refused where a row can't be read."""

    @property
    def hidden(self) -> frozenset[str]:
        """The names of fields, in small letters, whose values nobody is shown."""

    def story(self, identifier: str) -> Story | None:
        """Return all that is known of an order, by an order id or an entry id; None: nothing is."""

    def pruned(self, identifier: str) -> Pruned | None:
        """Return which rows were let go that may have been of an order of which nothing is known."""

    def search(self, wanted: Search) -> FoundOrders:
        """Return the newest recorded orders that are as wanted, a page of them."""


class Face(Struct, frozen=True):
    """All that pages show, and who may see it."""

    identity: Identity
    views: Views
    access: Access
    # Looked at by all pages together once a second at the most; None where nothing is known yet.
    fleet: Callable[[], Watched[Snapshot] | None]
    history: History
    letters: Letters | None = None
    orders: Orders | None = None
