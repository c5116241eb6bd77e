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


def rotated(items: Sequence[Item], turn: int) -> list[Item]:
    """Return the items in the order of a turn: after as many turns as items each has had every place once."""
    first = turn % len(items) if items else 0
    return [*items[first:], *items[:first]]


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
