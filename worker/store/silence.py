"""Ends what waits for a server that has gone silent.

No setting of the server helps against that, and the driver waits.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Thread, current_thread
from time import monotonic

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from worker.store.failures import code


class GivenUp(SQLAlchemyError):
    """What was to be done in time was not; the driver would say that the server has closed the connection."""


class SilenceGuard:
    """Shuts a socket down when its deadline passes, so that whoever waits on it gets an error.

    Whether the server did what it was asked is unknown then. One thread watches any number of sockets, from
    the first until the guard is closed.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._changed = Condition()
        self._deadlines: dict[int, float] = {}
        self._thread: Thread | None = None

    @contextmanager
    def watch(self, descriptor: int) -> Iterator[None]:
        """Give the block `limit_s` seconds on the socket behind a descriptor.

        Raises GivenUp where it ends for want of more.
        """
        with self._changed:
            self._deadlines[descriptor] = monotonic() + self._limit_s
            if self._thread is None:
                self._thread = Thread(target=self._run, name="silence", daemon=True)
                self._thread.start()
        try:
            yield
        except DBAPIError as error:
            with self._changed:
                shut = descriptor not in self._deadlines
            if shut and code(error) is None:
                why = f"not done within {self._limit_s:g} s (WORKER_TRANSACTION_TIMEOUT_S)"
                raise GivenUp(why) from error
            raise
        finally:
            # Under the lock: once it is given up here, the number may be another socket's.
            with self._changed:
                self._deadlines.pop(descriptor, None)

    def close(self) -> None:
        """End the thread as soon as no socket is watched; with the next one it starts anew."""
        with self._changed:
            self._thread = None
            self._changed.notify_all()

    def _run(self) -> None:
        with self._changed:
            while self._thread is current_thread() or self._deadlines:
                # Deadlines all lie the same time ahead, so a new one is never due before this wait ends.
                self._changed.wait(min(self._limit_s / 10, 1.0))
                now = monotonic()
                for descriptor in [each for each, deadline in self._deadlines.items() if deadline <= now]:
                    del self._deadlines[descriptor]
                    _shut(descriptor)


def _shut(descriptor: int) -> None:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)
    except OSError:
        # It has ended by itself.
        return
