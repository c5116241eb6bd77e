"""Adds orders to the stream for people and tests: pipelined, never repeated by itself."""

from collections.abc import Mapping, Sequence
from itertools import chain

from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages, text


class Submitter:
    """Adds entries in the order given. A failed call may have added any part of its entries."""

    def __init__(self, link: RedisLink, stream: str) -> None:
        self._link = link
        self._stream = stream

    def add(self, entries: Sequence[Mapping[str, str]]) -> list[str]:
        """Add the entries, flat, and return their ids. Raises Outage; what was added then is unknown."""
        commands = (["XADD", self._stream, "*", *chain.from_iterable(fields.items())] for fields in entries)
        with outages():
            return [text(entry_id) for entry_id in self._link.call_all(commands)]
