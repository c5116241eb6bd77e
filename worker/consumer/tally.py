"""What one process has done so far, and when it last gave a sign of life."""

from collections.abc import Mapping

from msgspec import Struct

from worker.domain.deliveries import Dead, Duplicate, Left, Outcome, Retry, Settled
from worker.domain.orders import Status
from worker.domain.ports import Monotonic

STAY_IN_HAND = frozenset({"retry", "left"})


class Tally(Struct):
    """Counts since start; received is the sum of the others and of what is in hand.

    Of those handed back some were released, and of the others the lease was lost.

    Written by the loop alone, read by any thread: a reader may see a settle half counted, never a wrong end.
    """

    received: int = 0
    filled: int = 0
    rejected: int = 0
    error: int = 0
    duplicate: int = 0
    dead: int = 0
    answered_again: int = 0
    handed_back: int = 0
    released: int = 0
    leases_lost: int = 0
    in_hand: int = 0
    batches: int = 0
    outages: int = 0
    unexpected: int = 0

    def take(self, count: int) -> None:
        """Count deliveries taken in hand."""
        self.received += count
        self.in_hand += count

    def release(self, count: int) -> None:
        """Count deliveries that were released for others to claim."""
        self.released += count
        self._hand_back(count)

    def lose(self, count: int) -> None:
        """Count deliveries whose lease was lost: others have them, or have settled them."""
        self.leases_lost += count
        self._hand_back(count)

    def settle(self, kinds: Mapping[str, int]) -> None:
        """Count a settled batch by kinds of outcome; what is to be retried or was not begun stays in hand."""
        self.batches += 1
        for name, count in kinds.items():
            if name not in STAY_IN_HAND:
                setattr(self, name, getattr(self, name) + count)
                self.in_hand -= count

    def _hand_back(self, count: int) -> None:
        self.handed_back += count
        self.in_hand -= count


_RESULTS = {Status.FILLED: "filled", Status.REJECTED: "rejected", Status.ERROR: "error"}


def kind(outcome: Outcome) -> str:
    """Return under which name an outcome is counted and logged."""
    match outcome:
        case Settled(answered=True):
            return "answered_again"
        case Settled(record=record):
            return _RESULTS[record.status]
        case Duplicate():
            return "duplicate"
        case Dead():
            return "dead"
        case Retry():
            return "retry"
        case Left():
            return "left"


class SignOfLife:
    """When the loop last passed one of its stations, and when it last had something to do."""

    def __init__(self, clock: Monotonic) -> None:
        self._clock = clock
        self._last = self._worked = clock()

    def give(self) -> None:
        """Note that the loop is alive now."""
        self._last = self._clock()

    def work(self) -> None:
        """Note that there is something to do now."""
        self._worked = self._clock()

    @property
    def age_s(self) -> float:
        """Seconds since the last sign."""
        return self._clock() - self._last

    @property
    def idle_s(self) -> float:
        """Seconds since there was something to do."""
        return self._clock() - self._worked
