"""Wishes to leave, heard whatever the main thread is doing.

This imports little: nothing is heard before it is imported.
"""

import os
import signal
from collections.abc import Callable, Iterable
from threading import Thread
from typing import Any

LEAVE = (signal.SIGTERM, signal.SIGINT)


def take_up_interrupts() -> None:
    """Hear SIGINT again where it is ignored from the start, and a Ctrl-C is still meant for this process.

    A shell without job control has what it starts in the background ignore SIGINT, and that is inherited; but
    it leaves it in its own process group, which may be the one in the foreground of a terminal. Elsewhere it
    stays ignored.
    """
    if _is_ignored(signal.SIGINT) and _is_in_the_foreground():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN


def _is_in_the_foreground() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


class _Listener:
    """Calls the latest wish, from a thread of its own, for each signal that is meant.

    Python would call it on the main thread, once that comes back to it. One that was just about to block
    never would; and one that is about to wait for an event, which takes a lock, would wait for itself when
    the event is to be set.
    """

    def __init__(self) -> None:
        self.wish: Callable[[], object] = bool
        self._before: dict[signal.Signals, Any] = {}
        self._heard, told = os.pipe()
        os.set_blocking(told, False)
        # Written to in the signal's own handler, before Python learns of it.
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        os.register_at_fork(
            before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, LEAVE),
            after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, LEAVE),
            after_in_child=self._give_back,
        )
        Thread(target=self._hear, name="signals", daemon=True).start()

    def mean(self, numbers: Iterable[signal.Signals]) -> None:
        """Hear these signals from now on."""
        for number in numbers:
            before = signal.signal(number, _leave_it_to_the_thread)
            self._before.setdefault(number, before)

    def _give_back(self) -> None:
        # Whatever is forked would write to the same pipe, and its end be taken for ours.
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LEAVE)

    def _hear(self) -> None:
        while numbers := os.read(self._heard, 64):
            for number in numbers:
                # The others are somebody else's: an executor's, say.
                if number in self._before:
                    self.wish()


_listening: list[_Listener] = []


def end_when_asked_to_leave(code: int) -> None:
    """End the process at once, with a code, on SIGTERM, until `call_when_asked_to_leave`.

    Call this from the main thread. SIGINT stays what it is: a KeyboardInterrupt, for those who say how far
    they came.
    """
    _listen(lambda: os._exit(code), [signal.SIGTERM])


def call_when_asked_to_leave(wish: Callable[[], object]) -> None:
    """Call `wish`, from a thread of its own, for each SIGTERM and SIGINT from now on.

    Call this from the main thread. A SIGINT that is ignored stays so: whoever started this process in the
    background did not mean it.
    """
    _listen(wish, [number for number in LEAVE if number is signal.SIGTERM or not _is_ignored(number)])


def _listen(wish: Callable[[], object], numbers: Iterable[signal.Signals]) -> None:
    if not _listening:
        _listening.append(_Listener())
    (listener,) = _listening
    listener.wish = wish
    listener.mean(numbers)


def _leave_it_to_the_thread(*_: object) -> None:
    pass
