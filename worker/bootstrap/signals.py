"""Wishes to leave, heard whatever the main thread is doing."""

import os
import signal
import socket
from collections.abc import Callable, Mapping
from threading import Thread
from typing import Any

LEAVE = (signal.SIGTERM, signal.SIGINT)


def take_up_interrupts() -> None:
    """Hear SIGINT again where it is ignored from the start, and a Ctrl-C is meant for this process all the same.

    A shell without job control has what it starts in the background ignore SIGINT, and that is inherited; but it leaves it
    in its own process group, which may be the one in the foreground of a terminal. Elsewhere it stays ignored.
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


def call_when_asked_to_leave(wish: Callable[[], object]) -> None:
    """Call `wish`, from a thread of its own, for each SIGTERM and SIGINT from now on. Call from the main thread.

    A SIGINT that is ignored stays so: whoever started this process in the background did not mean it.

    Python would call it on the main thread, once that comes back to it. One that was just about to block never would; and
    one that is about to wait for an event, which takes a lock, would wait for itself when the event is to be set.
    """
    heard, told = socket.socketpair()
    told.setblocking(False)
    # Written to in the signal's own handler, before Python learns of it.
    signal.set_wakeup_fd(told.detach(), warn_on_full_buffer=False)
    meant = [number for number in LEAVE if number is signal.SIGTERM or not _is_ignored(number)]
    before = {number: signal.signal(number, _leave_it_to_the_thread) for number in meant}
    _keep_to_this_process(before)
    Thread(target=_hear, args=(heard, wish), name="signals", daemon=True).start()


def _leave_it_to_the_thread(*_: object) -> None:
    pass


def _keep_to_this_process(before: Mapping[signal.Signals, Any]) -> None:
    """Give the handlers back in whatever is forked: it would write to the same socket, and its end be taken for ours."""

    def give_back() -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LEAVE)

    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, LEAVE),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, LEAVE),
        after_in_child=give_back,
    )


def _hear(heard: socket.socket, wish: Callable[[], object]) -> None:
    while numbers := heard.recv(64):
        for number in numbers:
            # The others are somebody else's: an executor's, say.
            if number in LEAVE:
                wish()
