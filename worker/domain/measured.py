"""What one process has measured of itself, as /metrics shows it."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from msgspec import Struct


class Counted(Struct, frozen=True):
    """A histogram at one moment: how many values were at most each bound, how many there were, their sum."""

    bounds: tuple[float, ...]
    at_most: tuple[int, ...]
    count: int = 0
    total: float = 0.0


class Histogram:
    """Counts values by their size.

    One thread adds, a batch at a time. What any other reads in `now` is of one moment: it is replaced, never
    changed.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.now = Counted(tuple(bounds), (0,) * len(bounds))

    def add(self, values: Sequence[float]) -> None:
        """Count the values of a batch."""
        ordered, before = sorted(values), self.now
        at_most = tuple(
            count + bisect_right(ordered, bound)
            for count, bound in zip(before.at_most, before.bounds, strict=True)
        )
        self.now = Counted(before.bounds, at_most, before.count + len(ordered), before.total + sum(ordered))


class ServerOutages(Struct, frozen=True):
    """How often a server was away, for how many seconds in all, and whether it is away now."""

    count: int = 0
    seconds: float = 0.0
    now: bool = False


class Figures(Struct, frozen=True):
    """All of it. The keys are few, and none is anything that a producer sent.

    Deliveries are counted by outcome and, of a dead letter, its reason; `repaired` by what was given back.
    `retention_age_s` is how long ago this replica let go of old entries, None where it never did.
    """

    histograms: Mapping[str, Counted]
    deliveries: Mapping[tuple[str, ...], int]
    outages: Mapping[str, ServerOutages]
    reconnects: Mapping[str, int]
    repaired: Mapping[str, int]
    claimed: int = 0
    retries_waiting: int = 0
    retention_age_s: float | None = None
