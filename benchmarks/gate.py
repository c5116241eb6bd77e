"""Holds the ratios of a run against those that were measured before: none is to fall."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contest import Standing, compared
from benchmarks.errors import NoFigure
from benchmarks.report import AGAIN

FLOORS = Path(__file__).parent / "floors.toml"
# Medians of a few rounds differ by so much, however close a design has come to itself.
LEAST_NOISE, MOST_NOISE = 0.05, 0.25


@dataclass(frozen=True)
class Held:
    """A ratio, what it was before, and by how much a design differs from itself in the same table."""

    scenario: str
    case: str
    ratio: float
    floor: float
    noise: float
    best: float

    @property
    def fallen(self) -> bool:
        """Whether it is below by more than noise, and no round has come up to what it was."""
        return self.ratio < self.floor * (1 - self.noise) and self.best < self.floor

    def __str__(self) -> str:
        """Return a line of it."""
        stands = "below" if self.fallen else "not below"
        before = f"{stands} {self.floor:.2f} (noise {self.noise:.2f})"
        return f"{self.scenario}, {self.case}: {self.ratio:.2f}, {before}"


def floors(path: Path = FLOORS) -> dict[str, dict[str, float]]:
    """Return the ratio of each case that has one, by scenario."""
    with path.open("rb") as file:
        return tomllib.load(file)


def held(
    tables: Mapping[str, Sequence[Standing]], before: Mapping[str, Mapping[str, float]]
) -> Iterator[Held]:
    """Hold each ratio against what it was before; one that was not measured now or then is passed over."""
    for scenario, standings in tables.items():
        noise = _noise(standings)
        for standing in standings:
            floor = before.get(scenario, {}).get(standing.case.name)
            share = compared(standing, standings)
            if floor is not None and share is not None:
                yield Held(scenario, standing.case.name, share.median, floor, noise, share.most)


def _noise(standings: Sequence[Standing]) -> float:
    """Return how far designs are from themselves. Raises NoFigure where that is too far to tell anything."""
    again = [compared(each, standings) for each in standings if AGAIN in each.case.name]
    noise = max([LEAST_NOISE, *(abs(1 - share.median) for share in again if share is not None)])
    if noise > MOST_NOISE:
        raise NoFigure(
            f"A design is {noise:.2f} from itself: this run can't tell whether a ratio has fallen."
        )
    return noise
