"""Which cases are drawn: each by its own number from the run's seed, so that it can be drawn again alone."""

import os
import random
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.faults.scale import CHAOS

CI_SEED = 20_261_122
MORE = 10


def chosen_seed(environ: Mapping[str, str]) -> int:
    """Return the seed of the run: the one asked for, else a new one under CHAOS, else always the same."""
    if environ.get("FUZZ_SEED"):
        return int(environ["FUZZ_SEED"])
    return secrets.randbits(32) if CHAOS else CI_SEED


SEED = chosen_seed(os.environ)


def numbers(count: int) -> range:
    """Return the numbers of cases to draw: so many, ten times as many under CHAOS, or the one asked for."""
    if os.environ.get("FUZZ_CASE"):
        only = int(os.environ["FUZZ_CASE"])
        return range(only, only + 1)
    return range(count * MORE if CHAOS else count)


def drawn(subject: str, number: int) -> random.Random:
    """Return the chance that a case is drawn by."""
    return random.Random(f"{SEED}:{subject}:{number}")  # noqa: S311  cases to draw, nothing secret


@contextmanager
def case(number: int, shown: object = "") -> Iterator[None]:
    """Say how to run a case again where the block fails."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"again: FUZZ_SEED={SEED} FUZZ_CASE={number}\n{repr(shown)[:2000]}")
        raise
