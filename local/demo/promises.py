"""What the demo waits for and insists on."""

import time
from collections.abc import Callable

LOOK_S = 0.1
# Of each thing that is waited for: a lease, a restart and a slow machine fit in.
LIMIT_S = 45.0


class BrokenPromiseError(Exception):
    """Something is not as the demo says it is; the message says what."""


def insist(kept: object, sentence: str) -> None:
    """Raise BrokenPromiseError with the sentence where something is not so."""
    if not kept:
        raise BrokenPromiseError(sentence)


def until(condition: Callable[[], object], sentence: str, within: float = LIMIT_S) -> None:
    """Return once it is so; raise BrokenPromiseError with the sentence where that takes too long."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise BrokenPromiseError(f"{sentence} (waited for {within:.0f} s)")
        time.sleep(LOOK_S)
