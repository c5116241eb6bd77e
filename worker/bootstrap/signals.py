"""Wishes to leave, heard whatever the main thread is doing."""

import signal
import socket
from collections.abc import Callable
from threading import Thread

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
    for number in LEAVE:
        signal.signal(number, _leave_it_to_the_thread)
    Thread(target=_hear, args=(heard, wish), name="signals", daemon=True).start()


def _leave_it_to_the_thread(*_: object) -> None:
    pass


def _hear(heard: socket.socket, wish: Callable[[], object]) -> None:
    while numbers := heard.recv(64):
        for number in numbers:
            # The others are somebody else's: an executor's, say.
            if number in LEAVE:
                wish()
