"""What the streams hold of many entries, page by page and in the order they were added; reads only."""

from collections.abc import Iterator, Sequence
from itertools import chain

from msgspec import Struct

from worker.domain.deliveries import BEGINNING, entry_milliseconds
from worker.domain.evidence import Fate
from worker.stream.connection import RedisLink, RedisNames, outages, text
from worker.stream.scripts import source
from worker.stream.trail import Found

PAGE = 500


class Extent(Struct, frozen=True):
    """The first and the last entry a stream holds, and how many there are."""

    first: str
    last: str
    length: int

    def may_be_trimmed(self, least_kept: int) -> bool:
        """Whether retention, which leaves so many at least (0: all of them), may have trimmed it."""
        return 0 < least_kept <= self.length


class StreamEvidence:
    """Raises Outage where Redis can't be used. A stream that is not there is empty. Retention keeps `most_results`."""

    def __init__(self, link: RedisLink, names: RedisNames, *, most_results: int = 0) -> None:
        self._link = link
        self._names = names
        self._most_results = most_results
        self._fates = link.script(source("fates"))

    def fates(self, entry_ids: Sequence[str]) -> dict[str, Fate]:
        """Tell how entries stand, all of them at one instant."""
        names = self._names
        with outages():
            words = self._fates([names.orders, names.settled, names.trimmed], [names.group, *entry_ids])
        return {entry_id: _fate(text(word)) for entry_id, word in zip(entry_ids, words, strict=True)}

    def orders(self) -> Extent:
        """Return how far the orders stream reaches."""
        return self._extent(self._names.orders)

    def results(self) -> Extent:
        """Return how far the results reach."""
        return self._extent(self._names.results)

    def letters(self) -> Extent:
        """Return how far the dead letters reach."""
        return self._extent(self._names.dead_letters)

    def order_pages(self, first: str, last: str) -> Iterator[list[Found]]:
        """Yield the orders from one id up to another."""
        return self._pages(self._names.orders, first, last)

    def result_pages(self, first: str, last: str) -> Iterator[list[Found]]:
        """Yield the results from one id up to another; an id with `(` before it is left out."""
        return self._pages(self._names.results, first, last)

    def letter_pages(self, first: str, last: str) -> Iterator[list[Found]]:
        """Yield the dead letters from one id up to another; an id with `(` before it is left out."""
        return self._pages(self._names.dead_letters, first, last)

    def entries(self, entry_ids: Sequence[str]) -> dict[str, tuple[bytes, ...]]:
        """Return the fields of those that are on the orders stream."""
        with outages():
            pages = self._link.call_all(["XRANGE", self._names.orders, each, each] for each in entry_ids)
        return {text(page[0][0]): tuple(page[0][1]) for page in pages if page}

    def named(self, entry_ids: Sequence[str], *, from_ms: int) -> set[str]:
        """Return those entries that results or dead letters name which came since a unix time in milliseconds.

        With them come those that may have been named by a result that is trimmed by now.
        """
        wanted = {each.encode(): each for each in entry_ids}
        extent = self.results()
        first, last = f"{from_ms}-0", "+"
        if extent.may_be_trimmed(self._most_results) and entry_milliseconds(extent.first) > from_ms:
            return set(entry_ids)
        named = set()
        for page in chain(self.result_pages(first, last), self.letter_pages(first, last)):
            for entry in page:
                pairs = zip(entry.fields[::2], entry.fields[1::2], strict=True)
                named |= {wanted[value] for name, value in pairs if name == b"entry_id" and value in wanted}
        return named

    def result(self, result_id: str) -> tuple[bytes, ...]:
        """Return the fields of one result, none where it is gone."""
        with outages():
            page = self._link.call("XRANGE", self._names.results, result_id, result_id)
        return tuple(page[0][1]) if page else ()

    def _extent(self, key: str) -> Extent:
        with outages():
            # In one go: the ends of a stream that is trimmed meanwhile are both real, the length is for people.
            first, last, length = self._link.call_all(
                [
                    ["XRANGE", key, "-", "+", "COUNT", "1"],
                    ["XREVRANGE", key, "+", "-", "COUNT", "1"],
                    ["XLEN", key],
                ]
            )
        begin, end = (text(page[0][0]) if page else BEGINNING for page in (first, last))
        return Extent(begin, end, int(length))

    def _pages(self, key: str, first: str, last: str) -> Iterator[list[Found]]:
        while True:
            with outages():
                page = self._link.call("XRANGE", key, first, last, "COUNT", PAGE)
            if not page:
                return
            yield [Found(text(entry_id), tuple(fields)) for entry_id, fields in page]
            first = f"({text(page[-1][0])}"


def _fate(word: str) -> Fate:
    return Fate(
        pending="p" in word, waiting="w" in word, noted="n" in word, marked="m" in word, old="h" in word
    )
