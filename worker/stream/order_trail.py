"""What the streams still know of one entry; every search is bounded, and says so."""

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

from msgspec import Struct

from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages, text
from worker.stream.names import RedisNames
from worker.stream.paging import pages

MOST_SEARCHED = 20_000


class Found(Struct, frozen=True):
    """One entry of a stream, names and values in turn."""

    entry_id: str
    fields: tuple[bytes, ...]


class Trail:
    """Reads only. Raises Outage where Redis can't be used."""

    def __init__(self, link: RedisLink, names: RedisNames) -> None:
        self._link = link
        self._names = names

    def order(self, entry_id: str) -> Found | None:
        """Return an entry of the orders stream, None where it is not there (any more)."""
        with outages():
            page = self._link.call("XRANGE", self._names.orders, entry_id, entry_id)
        return _found(page[0]) if page else None

    def latest_order(self, fits: Callable[[Found], bool]) -> Found | None:
        """Return the newest order that fits among the last ones."""
        return self._search(pages(self._link, self._names.orders, "-", "+", backwards=True), fits)

    def result(self, fits: Callable[[Found], bool], *, from_ms: int) -> Found | None:
        """Return the first result that fits among those published from a unix time in milliseconds on."""
        return self._search(pages(self._link, self._names.results, f"{max(from_ms, 0)}-0", "+"), fits)

    def _search(self, found: Iterator[Any], fits: Callable[[Found], bool]) -> Found | None:
        last_ones = islice(chain.from_iterable(found), MOST_SEARCHED)
        return next((each for each in map(_found, last_ones) if fits(each)), None)


def _found(entry: Any) -> Found:  # noqa: ANN401  replies are untyped
    return Found(text(entry[0]), tuple(entry[1]))
