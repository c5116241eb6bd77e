"""How much of everything: from the command line, else what a scenario takes by itself, in full or quick."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.designs import BY_HAND, DESIGNS, WORKER, Design
from benchmarks.errors import NoFigure
from benchmarks.load import Load

Tell: TypeAlias = Callable[[str], None]

LEAST_ORDERS = 200


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What was asked for; 0 and empty mean that it was left to the scenario."""

    quick: bool = False
    orders: int = 0
    rounds: int = 0
    seed: int = 1
    designs: Sequence[Design] = DESIGNS
    workers: Sequence[int] = ()

    @property
    def pair(self) -> list[Design]:
        """The worker and the reference, or the one that was asked for. Raises NoFigure if neither was."""
        chosen = [design for design in (WORKER, BY_HAND) if design in self.designs]
        if not chosen:
            raise NoFigure(f"This scenario compares {WORKER.name} and {BY_HAND.name} alone.")
        return chosen

    def of(self, full: int, quick: int) -> int:
        """Return how many orders."""
        return self.orders or (quick if self.quick else full)

    def turns(self, full: int, quick: int) -> int:
        """Return how many rounds."""
        return self.rounds or (quick if self.quick else full)

    def load(self, orders: int, turn: int) -> Load:
        """Return the orders of a round: in each others, and in one round the same for every case."""
        return Load(orders=orders, seed=self.seed * 1000 + turn)


def share_of(design: Design, orders: int) -> int:
    """Return how many of the orders a design is given."""
    return max(round(orders * design.share), min(orders, LEAST_ORDERS))
