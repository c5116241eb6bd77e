"""What the streams still know of one entry; every search is bounded, and says so."""

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

from msgspec import Struct

from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages, text
from worker.stream.names import RedisNames
from worker.stream.paging import PAGE, pages


class Found(Struct, frozen=True):
    """One entry of a stream, names and values in turn."""

    entry_id: str
    fields: tuple[bytes, ...]


class Walk(Struct, frozen=True):
    """What a bounded search has found among so many entries; `all`: its range ended there."""

    found: tuple[Found, ...]
    looked_at: int
    all: bool


class Trail:
    """Reads only. Raises Outage where Redis can't be used.

    Each search looks at the first entries of its range, `most` of them at the most.
    """

    def __init__(self, link: RedisLink, names: RedisNames) -> None:
        self._link = link
        self._names = names

    def order(self, entry_id: str) -> Found | None:
        """Return an entry of the orders stream, None where it is not there (any more)."""
        with outages():
            page = self._link.call("XRANGE", self._names.orders, entry_id, entry_id)
        return _found(page[0]) if page else None

    def latest_order(self, fits: Callable[[Found], bool], *, most: int) -> Found | None:
        """Return the newest order that fits among the last ones."""
        found = chain.from_iterable(pages(self._link, self._names.orders, "-", "+", backwards=True))
        return next(filter(fits, map(_found, islice(found, most))), None)

    def orders(self, fits: Callable[[Found], bool], *, from_entry: str, most: int) -> Walk:
        """Return the orders that fit from an entry on."""
        return _walk(pages(self._link, self._names.orders, from_entry, "+"), fits, most)

    def results(self, fits: Callable[[Found], bool], *, from_ms: int, most: int) -> Walk:
        """Return the results that fit among those published from a unix time in milliseconds on."""
        first = f"{max(from_ms, 0)}-0"
        return _walk(pages(self._link, self._names.results, first, "+", count=PAGE), fits, most)

    def results_before(
        self, fits: Callable[[Found], bool], *, from_ms: int, until_ms: int, most: int
    ) -> Walk:
        """Return the results that fit among those published between two times, the last ones first."""
        if until_ms <= max(from_ms, 0):
            return Walk((), 0, True)
        # Without its second part an id at the end of a range stands for the last of its millisecond.
        first, last = f"{max(from_ms, 0)}-0", str(until_ms - 1)
        found = pages(self._link, self._names.results, first, last, count=PAGE, backwards=True)
        return _walk(found, fits, most)


def _walk(found: Iterator[Any], fits: Callable[[Found], bool], most: int) -> Walk:
    # One more than is looked at tells whether there are more.
    entries = islice(map(_found, chain.from_iterable(found)), most + 1)
    fitting, count = [], 0
    for each in entries:
        count += 1
        if count <= most and fits(each):
            fitting.append(each)
    return Walk(tuple(fitting), min(count, most), count <= most)


def _found(entry: Any) -> Found:  # noqa: ANN401  replies are untyped
    return Found(text(entry[0]), tuple(entry[1]))
