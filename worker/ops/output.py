"""Where log lines go: to a descriptor, with no buffer and no endless wait for a reader who does not read."""

import os
import select
import stat
import sys
from typing import TextIO

# How long a line waits for its reader; where one has waited in vain, those after it do not wait until there
# is room again.
PATIENCE_MS = 1000
# What a pipe that can be written to is sure to take at once.
PART = select.PIPE_BUF


class Unwritten(OSError):
    """A line, or its end, could not be written in time."""


class LogOutput:
    """What a log handler writes to.

    A line that can't be written is dropped, and none is kept to be tried again. A buffered stream keeps it,
    and the interpreter, which can't write it in the end either, exits with 120. A pipe that nobody empties,
    or a terminal that is halted, holds up whoever writes, and with it the loop.
    """

    def __init__(self, descriptor: int) -> None:
        """Write to what a descriptor leads to."""
        self._descriptor = _without_blocking(descriptor)
        self._room = select.poll()
        self._room.register(self._descriptor, select.POLLOUT)
        self._patience_ms = PATIENCE_MS
        self._torn = False

    def write(self, text: str) -> None:
        """Write a line. Raises OSError where that fails; what was written of it is a line of its own."""
        whole = memoryview((("\n" if self._torn else "") + text).encode(errors="backslashreplace"))
        left = whole
        try:
            while left:
                if not self._room.poll(self._patience_ms):
                    self._patience_ms = 0
                    raise Unwritten("nobody reads")
                left = left[os.write(self._descriptor, left[:PART]) :]
        except OSError:
            self._torn = self._torn or len(left) < len(whole)
            raise
        self._patience_ms = PATIENCE_MS
        self._torn = False

    def flush(self) -> None:
        """Do nothing: nothing is kept."""

    def isatty(self) -> bool:
        """Whether a terminal reads it."""
        return os.isatty(self._descriptor)


def _without_blocking(descriptor: int) -> int:
    """Return a way of our own to the same pipe or terminal that never blocks, or else the descriptor.

    The descriptor itself is shared with whoever else writes there, and so is whether it blocks.
    """
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISFIFO(mode) and not os.isatty(descriptor):
        return descriptor
    try:
        return os.open(f"/dev/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        # Not allowed, or nobody reads.
        return descriptor


def standard_output() -> LogOutput | TextIO | None:
    """Return what logs are written to: standard output without its buffer, or None where it was closed."""
    out: TextIO | None = sys.stdout
    if out is None:
        return None
    try:
        return LogOutput(out.fileno())
    except OSError:
        # A stream in memory, as tests put in its place.
        return out
