"""How large a storm is, and what strikes in it when: drawn from a seed, the same in every run."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, cycle
from typing import Literal, TypeAlias

from tests.faults.storm.steps import EVERY_STEP, TOO_SHORT, Step

Kind: TypeAlias = Literal["kill", "stop", "redis crash", "postgresql crash", "reset"]
Aim: TypeAlias = tuple[Step | None, bool]
_ANYWHERE: Aim = (None, False)


@dataclass(frozen=True)
class Size:
    """How many orders are submitted while how many faults happen, `pause_s` apart on average."""

    orders: int = 100_000
    kills: int = 1_000
    stops: int = 100
    crashes: int = 20
    resets: int = 100
    pause_s: float = 0.15

    @property
    def faults(self) -> Mapping[Kind, int]:
        """How many there are of each; each server crashes as often as the other."""
        return {
            "kill": self.kills,
            "stop": self.stops,
            "redis crash": self.crashes,
            "postgresql crash": self.crashes,
            "reset": self.resets,
        }


FULL = Size()
A_TENTH = Size(orders=10_000, kills=100, stops=10, crashes=2, resets=10)


def sized(kills: int) -> Size:
    """Return the full storm, or a multiple of it that has so many kills."""
    times = kills / FULL.kills
    return Size(
        orders=round(FULL.orders * times),
        kills=kills,
        stops=round(FULL.stops * times),
        crashes=round(FULL.crashes * times),
        resets=round(FULL.resets * times),
    )


@dataclass(frozen=True)
class Fault:
    """What strikes, how long after the last one, and whom: a replica at this step, else any.

    `first`: the one that comes to it first, at its very beginning; else one that is seen there, wherever in
    it that is. `draw` (0 to 1) decides what else is left to chance: how long it lasts, or which connection it
    is.
    """

    kind: Kind
    after_s: float
    draw: float
    step: Step | None = None
    first: bool = False


def plan(size: Size, seed: int) -> list[Fault]:
    """Return all faults of a storm, shuffled.

    Every second kill strikes at any moment, the others at each step in turn. Of the stops one in four strikes
    at any moment, the others where somebody wakes up to work that others have finished.
    """
    chance = random.Random(seed)  # noqa: S311  no secret
    kinds = [kind for kind, times in size.faults.items() for _ in range(times)]
    chance.shuffle(kinds)
    # Who is seen somewhere may have gone on when it is struck: of two kills at a step one hits it for
    # certain.
    every_step = cycle(
        [*((step, True) for step in EVERY_STEP), *((step, step in TOO_SHORT) for step in EVERY_STEP)]
    )
    aims: dict[Kind, Iterator[Aim]] = {
        "kill": (_ANYWHERE if number % 2 == 0 else next(every_step) for number in count()),
        "stop": cycle([_ANYWHERE, (Step.COMMIT, False), (Step.SETTLE, False), (Step.BEFORE_COMMIT, False)]),
    }
    return [
        Fault(
            kind,
            chance.expovariate(1 / size.pause_s),
            chance.random(),
            *(next(aims[kind]) if kind in aims else _ANYWHERE),
        )
        for kind in kinds
    ]
