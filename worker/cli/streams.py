"""The standard streams: what is said on them, and what they are when closed, or when the disk is full."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, TextIO

import click

EXIT_UNWRITABLE = 74


def open_what_is_closed() -> None:
    """Have standard streams that were closed lead nowhere.

    The next connection would get the number of one of them, and take whatever a library prints there.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest number that is free: in this order, the one that was closed.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115  never closed


def leave(code: int, text: str) -> NoReturn:
    """End with an exit code and a text on standard error, each line marked as ours."""
    say(text)
    sys.exit(code)


def say(text: str) -> None:
    """Say something on standard error, each line marked as ours; what can't be written, nobody hears."""
    try:
        for line in text.splitlines():
            click.echo(f"worker: {line}", err=True)
    except OSError:
        _lead_nowhere(sys.stderr)


@contextmanager
def written() -> Iterator[None]:
    """End with a line and a code of its own where output can't be written.

    A reader who has left is no such case.
    """
    try:
        yield
    except OSError as error:
        full = [stream for stream in (sys.stdout, sys.stderr) if not _can_be_written(stream)]
        if not full:
            raise
        for stream in full:
            _lead_nowhere(stream)
        leave(EXIT_UNWRITABLE, f"output can't be written: {error.strerror or error}")


def _can_be_written(stream: TextIO) -> bool:
    """Whether the stream takes what is left in its buffer."""
    try:
        stream.flush()
    except OSError:
        return False
    return True


def _lead_nowhere(stream: TextIO) -> None:
    """Drop what a stream could not write: tried again at the very end, it would make the exit code 120."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
