"""Plain arithmetic of the report: turns, medians, ratios, percentiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Spread:
    """The median of some figures, and between what they lie."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        """Return the spread of at least one figure."""
        return cls(median(figures), min(figures), max(figures))


def balanced(items: Sequence[Item], turn: int) -> list[Item]:
    """Return the items in the order of a turn, so that neither place nor predecessor favours one of them.

    In as many turns as there are items each has every place once; in twice as many each comes next after each
    other one twice (a Williams design).
    """
    count = len(items)
    # 0, 1, n-1, 2, n-2 ...: no two neighbours are as far apart as any two others.
    zigzag = [(place + 1) // 2 if place % 2 else (count - place // 2) % count for place in range(count)]
    if turn // max(count, 1) % 2:
        zigzag.reverse()
    return [items[(step + turn) % count] for step in zigzag]


def ratio(figures: Mapping[int, float], base: Mapping[int, float]) -> Spread | None:
    """Return the ratio of the medians, and the range of the ratios of those rounds that have both.

    Both map a round to a figure. None where no round has both.
    """
    both = sorted(figures.keys() & base.keys())
    if not both:
        return None
    single = [figures[turn] / base[turn] for turn in both]
    of_medians = median(figures[turn] for turn in both) / median(base[turn] for turn in both)
    return Spread(of_medians, min(single), max(single))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the least of the ordered figures that is not exceeded by this share of them (nearest rank)."""
    rank = -(-len(ordered) * round(share * 1_000_000) // 1_000_000)
    return ordered[max(rank, 1) - 1]
