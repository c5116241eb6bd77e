"""What waits in hand to be tried again, each alone and after a back-off."""

from collections.abc import Callable, Sequence
from itertools import accumulate

from worker.domain.deliveries import Delivery, size_of
from worker.domain.ports import Monotonic

FIRST_RETRY_AFTER_S = 0.5
SET_ASIDE_FOR_S = 10.0


class Retries:
    """Holds retries, as many as a batch may be, and may have bytes.

    Others are better off on the stream, where nobody renews them.
    """

    def __init__(self, *, most: int, most_bytes: int, clock: Monotonic) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._clock = clock
        self._waiting: list[tuple[float, Delivery]] = []

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def room_for(self, deliveries: Sequence[Delivery]) -> int:
        """Return how many of these may wait as well, the first of them before the others."""
        room = max(0, self._most - len(self._waiting))
        left = self._most_bytes - sum(size_of(each.fields) for _, each in self._waiting)
        taken = accumulate(size_of(each.fields) for each in deliveries[:room])
        return sum(1 for each in taken if each <= left)

    @property
    def next_due(self) -> float | None:
        """When the first of them is due; None where none waits."""
        return self._waiting[0][0] if self._waiting else None

    def postpone(self, delivery: Delivery, *, at_least_s: float = 0.0) -> None:
        """Have a delivery wait the longer the more often it was begun."""
        back_off_s = FIRST_RETRY_AFTER_S * 2.0 ** min(delivery.count_before, 6)
        self._put(max(back_off_s, at_least_s), delivery)

    def set_aside(self, delivery: Delivery) -> None:
        """Have a delivery wait for a long time."""
        self._put(SET_ASIDE_FOR_S, delivery)

    def take_due(self) -> Delivery | None:
        """Return the first that is due."""
        if not self._waiting or self._waiting[0][0] > self._clock():
            return None
        return self._waiting.pop(0)[1]

    def change(self, change: Callable[[Delivery], Delivery]) -> list[Delivery]:
        """Replace each by what becomes of it; return them."""
        self._waiting = [(due, change(each)) for due, each in self._waiting]
        return [each for _, each in self._waiting]

    def leftovers(self) -> list[Delivery]:
        """Return, and forget, all of them."""
        left, self._waiting = self._waiting, []
        return [each for _, each in left]

    def _put(self, delay_s: float, delivery: Delivery) -> None:
        self._waiting.append((self._clock() + delay_s, delivery))
        self._waiting.sort(key=lambda waiting: waiting[0])
