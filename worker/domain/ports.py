"""What several of the rooms that decide need of those that speak.

What speaks to a server raises Outage when that is away.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TypeAlias

from worker.domain.deliveries import Delivery, Settlement
from worker.domain.orders import DeadReason, Execution, Order, OrderRecord, Undecodable, UnsoundOrder

Monotonic: TypeAlias = Callable[[], float]
WallClock: TypeAlias = Callable[[], datetime]


class Entry(Protocol):
    """One entry of a stream."""

    @property
    def entry_id(self) -> str:
        """Its id."""

    @property
    def fields(self) -> tuple[bytes, ...]:
        """Names and values in turn."""


class Turn(Protocol):
    """What one replica of a fleet does at a time. Whoever was not heard of for a while has it no more."""

    def take(self) -> bool:
        """Become the one whose turn it is, or stay it; False where it is another replica's."""

    def end(self) -> None:
        """Let others have it."""


class Rounds(Protocol):
    """Work that one replica does for its fleet, in turn."""

    def take_turn(self) -> bool:
        """Become the one whose turn it is, or stay it; False where it is another replica's."""

    def end_turn(self) -> None:
        """Let others have it."""

    def begun(self) -> int:
        """Return how many rounds have begun."""

    def begin(self) -> int:
        """Return the number of a round that begins now."""

    def ended(self) -> tuple[int, int] | None:
        """Return the number of the round that ended last, and what it said; None where none has ended."""

    def end(self, number: int, said: int) -> bool:
        """Note that a round has ended; False where it was forgotten that it began."""


class Executor(Protocol):
    """Turns an order into an execution.

    Either it declares `pure = True`: the same order gives the same execution in any process, so that
    executing again is invisible. Or its effects lie outside the worker's transaction, and it is an
    `OutsideExecutor`, too.
    """

    @property
    def pure(self) -> bool:
        """Whether executing again is invisible."""

    def execute(self, order: Order) -> Execution:
        """Execute. Raises VenueUnavailable before any effect; all else it raises is charged to the order."""


class OutsideExecutor(Executor, Protocol):
    """An executor whose venue can be asked what became of an order."""

    def find(self, order_id: str) -> Execution | None:
        """Return what the venue made of an order. None: it never took it; VenueUnavailable: it can't tell."""


def is_pure(executor: Executor) -> bool:
    """Whether an executor declares it; who says nothing has effects outside."""
    return getattr(executor, "pure", False) is True


class Decoder(Protocol):
    """Understands entries."""

    def decode(self, delivery: Delivery) -> Order | UnsoundOrder | Undecodable:
        """Return the order in an entry, or why there is none; never raises."""

    @property
    def renamed(self) -> bool:
        """Whether the source is not what the version before made it, which named orders after the stream."""

    def called_before(self, order_id: str, entry_id: str) -> str:
        """Return what the version before called an entry's order; that is another id where it was derived."""

    def called_by(self, source: str, order_id: str, entry_id: str) -> str:
        """Return what the order of an entry would be called if its stream were another source."""


class Renderer(Protocol):
    """Writes what goes out."""

    def result(self, delivery: Delivery, record: OrderRecord) -> Settlement:
        """Return the settlement that publishes the result of a row."""

    def letter(
        self,
        delivery: Delivery,
        *,
        reason: DeadReason | str,
        error: str,
        order_id: str | None,
        mark: str = ...,
    ) -> Settlement:
        """Return the settlement that buries a delivery, marked as `mark` where that is not its entry."""

    def derived_order_id(self, entry_id: str) -> str:
        """Return the identity of an order whose entry names none."""
