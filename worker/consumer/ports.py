"""What the consumer needs of the rooms around it. All of them raise Outage when their server is away."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from worker.domain.deliveries import ClaimedPage, Delivery, Fetched, Outcome, Settlement, Settling
from worker.domain.orders import Order, OrderRecord, UnsoundOrder
from worker.domain.ports import Decoder
from worker.domain.retention import LettersGone, Lost, Retained


class Holding(Protocol):
    """Takes deliveries in hand."""

    def __call__(self, deliveries: Iterable[Delivery], *, since: float | None = None) -> list[Delivery]:
        """Return them as held; `since` when they may have been handed out, if that was not just now."""


class Orders(Protocol):
    """The orders stream, as a consumer of its group sees it. Every step but those that read is repeatable."""

    @property
    def groups_lost(self) -> int:
        """How often the group was found missing."""

    def ensure_group(self) -> None:
        """Make the group, reading from the beginning, where it is missing."""

    def ping(self) -> None:
        """Return when the stream's server answers."""

    def reconnect(self) -> None:
        """Use no connection that is open now: the server's name may lead elsewhere by now."""

    def read(self, count: int, block_ms: int) -> list[Delivery]:
        """Take entries nobody has taken yet; each is charged with one delivery.

        It waits for the first for `block_ms` (0: not at all).
        """

    def read_ahead(self, count: int) -> None:
        """Ask for entries as `read` does, without waiting: `arrived` returns them, and is called next."""

    def arrived(self) -> list[Delivery]:
        """Return what was asked for."""

    def begin_look(self) -> bool:
        """Take the turn to look for abandoned entries from the start; False where another looked lately."""

    def end_look(self) -> None:
        """Let others look now."""

    def claim(self, cursor: str, count: int) -> ClaimedPage:
        """Take a page of abandoned entries, which are to be fetched; nothing is charged."""

    def own_pending(self, count: int, *, known: Collection[str]) -> list[Delivery]:
        """Return entries that arrived unseen, with their charges on the stream; they are to be fetched."""

    def fetch(self, charges: Mapping[str, int | None], *, beside: int = ...) -> Fetched:
        """Return what entries hold, each leased anew.

        Each is charged with so many before it goes out (None: as it is).

        As many as a batch may have bytes, less those of what is in hand `beside` them; at least one where
        that is none.
        """

    def trimmed(self, count: int) -> list[str]:
        """Return entries that were trimmed while pending, whose owners have had their time."""

    def renew(self, entry_ids: Collection[str]) -> list[str]:
        """Restart leases; return the ids that are lost to somebody else."""

    def charge(self, counts: Mapping[str, int]) -> list[str]:
        """Set what entries are charged with; return the ids that are lost to somebody else."""

    def set_aside(self, entry_ids: Collection[str]) -> None:
        """Note, for people, that these can be neither settled nor buried now."""

    def release(self, counts: Mapping[str, int]) -> None:
        """Hand entries back for anybody to claim at once."""

    def settle(
        self,
        settlements: Sequence[Settlement],
        *,
        written_since_ms: int = ...,
        meanwhile: Callable[[], None] = ...,
    ) -> Settling:
        """Publish, bury and ack in one step, but for what is in doubt.

        Rows written just now stand since `written_since_ms`; `meanwhile` may be called while the server is at
        it.
        """

    def retain(self, *, keep_ms: int, most_results: int, results_keep_ms: int = ...) -> Retained:
        """Let go of old orders and results no group needs, and of marks of what can't come back; 0: keep.

        Results younger than `results_keep_ms` stay.
        """

    @property
    def lost_by_reads(self) -> int:
        """How many entries reads have found trimmed before the group read them, since the last count."""

    def lost_unread(self) -> Lost | None:
        """Count what was trimmed before the group read it, each entry once; None where it can't be known."""

    def remove_dead(self, idle_ms: int) -> list[str]:
        """Remove other consumers that hold nothing and were idle for so long; return their names."""

    def leave(self) -> None:
        """Take this consumer out of the group, unless something is pending for it."""


class ClosedLetters(Protocol):
    """The dead letters that somebody has closed."""

    def let_go(self, keep_ms: int) -> LettersGone:
        """Let go of some that were closed longer ago, whose entries have left the orders stream."""


class Store(Protocol):
    """The rows of orders."""

    def ping(self) -> None:
        """Return when the store answers, and can be written to."""

    def reconnect(self) -> None:
        """Use no connection that is open now: the server's name may lead elsewhere by now."""

    def record(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        """Commit rows; return the row that stands for each, the very record where it was written now."""

    def resolve(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        """Commit outcomes of SUBMITTED rows these entries own; return what stands for each, like `record`."""

    def take_up(self, entry_id: str, *, after_s: float) -> bool:
        """Commit that the SUBMITTED row this entry owns is in our hands.

        False where it was in others' less than so long ago.
        """

    def find(self, entry_ids: Sequence[str]) -> dict[str, OrderRecord]:
        """Return the rows these entries own."""

    def alone(self) -> bool:
        """Whether no other source than ours was ever seen in this database."""


class Tracing(Protocol):
    """Follows batches through the loop. Whatever goes wrong with that, it raises nothing of its own."""

    def receive(self, take: Callable[[], list[Delivery]]) -> list[Delivery]:
        """Return what is taken next, and follow it; raises what `take` does."""

    def process(self, deliveries: Sequence[Delivery], handle: Callable[[], list[Outcome]]) -> list[Outcome]:
        """Return what becomes of what was taken; raises what `handle` does. After an outage it goes on."""

    def settle(self, settle: Callable[[], None]) -> None:
        """Settle it; raises what `settle` does. After an outage it goes on."""

    def executing(self, order: Order | UnsoundOrder | None) -> None:
        """Note that an executor has an order from now on; None: no more."""

    def leave(self) -> None:
        """End with what is left to others, if anything is."""


class DecodesOnce(Decoder, Protocol):
    """Understands each delivery in hand once, however often it is asked."""

    def forget(self, entry_ids: Iterable[str]) -> None:
        """Let go of deliveries that have an outcome, or are left to others."""

    def keep(self, entry_ids: Collection[str]) -> None:
        """Let go of all but these."""
