"""The orders of a run: the samples over and over, each under its own id; a seed gives the same again."""

import json
import random
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

from benchmarks.checks import Wanted

SAMPLE_FILE = Path(__file__).parent.parent / "examples" / "orders.jsonl"
# A repeated order is one of so many before it, as a producer's retry would be: about half of those in a batch
# of 500 are in the same batch.
RECENT = 1000
NO_ORDER = {"note": "nothing of an order in it"}

Order: TypeAlias = Mapping[str, str]


@cache
def samples() -> list[dict[str, str]]:
    """The sample orders, without ids."""
    return [json.loads(line) for line in SAMPLE_FILE.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True, kw_only=True)
class Load:
    """How many orders, and after how many of them there comes a repeat or an entry that is none (0: never).

    A repeat is of one of the last `repeat_within` orders.
    Their ids fall anywhere, or one after the other, as those do that the worker derives where producers send
    none.
    """

    orders: int
    seed: int
    repeat_every: int = 0
    repeat_within: int = RECENT
    junk_every: int = 0
    ids_in_order: bool = False

    @property
    def repeats(self) -> int:
        """How many entries repeat an order."""
        return self.orders // self.repeat_every if self.repeat_every else 0

    @property
    def junk(self) -> int:
        """How many entries are no orders."""
        return self.orders // self.junk_every if self.junk_every else 0

    @property
    def entries(self) -> int:
        """How many entries there are in all."""
        return self.orders + self.repeats + self.junk

    def wanted(self, *, repeats_answered: bool, junk_buried: bool) -> Wanted:
        """Return what a design must leave behind that answers repeats or doesn't, buries junk or doesn't."""
        results = self.orders + (self.repeats if repeats_answered else 0)
        return Wanted(orders=self.orders, results=results, letters=self.junk if junk_buried else 0)

    def __iter__(self) -> Iterator[Order]:
        """Go through the entries in order, from the beginning each time."""
        chance = random.Random(self.seed)  # noqa: S311  the same again for the same seed is the point
        recent: deque[Order] = deque(maxlen=self.repeat_within)
        for number in range(1, self.orders + 1):
            sample, anywhere = chance.choice(samples()), f"{chance.getrandbits(128):032x}"
            order = {**sample, "order_id": f"orders:{number:08}-0" if self.ids_in_order else anywhere}
            yield order
            recent.append(order)
            if self.repeat_every and number % self.repeat_every == 0:
                yield chance.choice(recent)
            if self.junk_every and number % self.junk_every == 0:
                yield NO_ORDER
