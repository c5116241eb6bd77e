"""Wishes to leave, heard whatever the main thread is doing."""

import os
import signal
import socket
from collections.abc import Callable, Mapping
from threading import Thread
from typing import Any

LEAVE = (signal.SIGTERM, signal.SIGINT)


def call_when_asked_to_leave(wish: Callable[[], object]) -> None:
    """Call `wish`, from a thread of its own, for each SIGTERM and SIGINT from now on. Call from the main thread.

    Python would call it on the main thread, once that comes back to it. One that was just about to block never would; and
    one that is about to wait for an event, which takes a lock, would wait for itself when the event is to be set.
    """
    heard, told = socket.socketpair()
    told.setblocking(False)
    # Written to in the signal's own handler, before Python learns of it.
    signal.set_wakeup_fd(told.detach(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, _leave_it_to_the_thread) for number in LEAVE}
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
