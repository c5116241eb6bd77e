"""How much goes into one call: some services take no call of 4,000 arguments or more."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

MOST_ARGUMENTS = 3_900

_Thing = TypeVar("_Thing")


def in_parts(things: Iterable[_Thing], *, arguments_each: int = 1) -> Iterator[tuple[_Thing, ...]]:
    """Yield things in parts that fit into one call each; none where there are none."""
    left = iter(things)
    while part := tuple(islice(left, MOST_ARGUMENTS // arguments_each)):
        yield part
