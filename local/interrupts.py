"""SIGINT and SIGTERM: the first one ends what runs in good order, and never halfway through a start."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
ENDING = (signal.SIGINT, signal.SIGTERM)


def interrupt_once() -> None:
    """Have the first of both signals raise KeyboardInterrupt, and later ones do nothing.

    The first starts an orderly end, which takes a limited time; a second one must not break it off.
    """
    for number in ENDING:
        signal.signal(number, _interrupt)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back what the handlers of both signals would do until the block is left.

    A process that was started and not yet told to its guard would outlive an exception of a handler.
    """
    # Handlers run in the main thread alone.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in ENDING}
    arrived: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)

    try:
        for number, handler in handlers.items():
            # What is ignored stays ignored, also by the process that is started.
            if callable(handler):
                signal.signal(number, note)
        yield
    finally:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, handler)
        for each in arrived:
            signal.raise_signal(each)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
