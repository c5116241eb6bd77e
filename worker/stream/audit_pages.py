"""What the streams hold of many entries, page by page and in the order they were added; reads only."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from worker.domain.deliveries import BEGINNING, FIRST_COUNT, entry_milliseconds
from worker.domain.evidence import Fate, Marked
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages, text
from worker.stream.names import RedisNames
from worker.stream.order_trail import Found
from worker.stream.paging import PAGE, pages
from worker.stream.scripts import source
from worker.stream.xinfo import StreamInformation


class Extent(Struct, frozen=True):
    """The first and the last entry a stream holds, and how many there are."""

    first: str
    last: str
    length: int

    def may_be_trimmed(self, least_kept: int) -> bool:
        """Whether retention, which leaves so many at least (0: all of them), may have trimmed it."""
        return 0 < least_kept <= self.length


class StreamEvidence:
    """Raises Outage where Redis can't be used. A stream that is not there is empty."""

    def __init__(self, link: RedisLink, names: RedisNames) -> None:
        self._link = link
        self._names = names
        self._information = StreamInformation(link, names)
        self._fates = link.script(source("fates"))

    def fates(self, marks: Sequence[str]) -> dict[str, Fate]:
        """Tell how entries stand, all of them at one instant: by their ids, or by what they are marked as."""
        names = self._names
        keys = [names.orders, names.results, names.dead_letters, names.settled, names.trimmed]
        with outages():
            *since, words = self._fates([*keys, names.settled_before, names.unknown], [names.group, *marks])
        results, letters, walked = map(text, since)
        known = Marked(
            results_since_ms=int(results),
            letters_since_ms=int(letters),
            walked_since_ms=int(walked) if walked else None,
        )
        return {mark: _fate(text(word), known) for mark, word in zip(marks, words, strict=True)}

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
        # They are small, and ours.
        return self._pages(self._names.results, first, last, count=PAGE)

    def letter_pages(self, first: str, last: str) -> Iterator[list[Found]]:
        """Yield the dead letters from one id up to another; an id with `(` before it is left out."""
        return self._pages(self._names.dead_letters, first, last)

    def entries(self, entry_ids: Sequence[str]) -> dict[str, tuple[bytes, ...]]:
        """Return the fields of those that are on the orders stream."""
        with outages():
            pages = self._link.call_all(["XRANGE", self._names.orders, each, each] for each in entry_ids)
        return {text(page[0][0]): tuple(page[0][1]) for page in pages if page}

    def unknown(self) -> Iterator[list[str]]:
        """Yield the entries of which nobody can know whether their results were published."""
        first = 0
        while True:
            with outages():
                page = self._link.call("ZRANGE", self._names.unknown, first, first + PAGE - 1)
            if not page:
                return
            yield [text(each) for each in page]
            first += len(page)

    def last_result(self) -> str:
        """Return the id that was given to a result last, `0-0` where there was none."""
        with outages():
            found = self._information.results()
        return BEGINNING if found is None else found.last_id

    def results_lost_until_ms(self) -> int:
        """Return up to when results may have been trimmed or deleted, in unix milliseconds; 0: none were."""
        with outages():
            found = self._information.results()
        if found is None:
            return 0
        kept_from = entry_milliseconds(found.first_id or found.last_id)
        if found.added is None or found.deleted_id is None:
            # Before 7.0 nobody counts.
            return kept_from
        return 0 if found.added == found.length else max(kept_from, entry_milliseconds(found.deleted_id))

    def letters_gone_until_ms(self) -> int:
        """Return up to when closed dead letters may have been let go, in unix milliseconds; 0: none were."""
        with outages():
            found = self._link.call("HGET", self._names.letter_states, "gone")
        return 0 if found is None else entry_milliseconds(text(found))

    def counts_results(self) -> bool:
        """Whether the server counts what was ever added, and so can tell whether something is gone."""
        with outages():
            found = self._information.results()
        return found is None or found.added is not None

    def result(self, result_id: str) -> tuple[bytes, ...]:
        """Return the fields of one result, none where it is gone."""
        with outages():
            page = self._link.call("XRANGE", self._names.results, result_id, result_id)
        return tuple(page[0][1]) if page else ()

    def _extent(self, key: str) -> Extent:
        with outages():
            # In one go: the ends of a stream that is trimmed meanwhile are both real, the length is for
            # people.
            first, last, length = self._link.call_all(
                [
                    ["XRANGE", key, "-", "+", "COUNT", "1"],
                    ["XREVRANGE", key, "+", "-", "COUNT", "1"],
                    ["XLEN", key],
                ]
            )
        begin, end = (text(page[0][0]) if page else BEGINNING for page in (first, last))
        return Extent(begin, end, int(length))

    def _pages(self, key: str, first: str, last: str, *, count: int = FIRST_COUNT) -> Iterator[list[Found]]:
        for page in pages(self._link, key, first, last, count=count):
            yield [Found(text(entry_id), tuple(fields)) for entry_id, fields in page]


def _fate(word: str, marks: Marked) -> Fate:
    return Fate(
        pending="p" in word,
        waiting="w" in word,
        noted="n" in word,
        marked="m" in word,
        old="h" in word,
        unknown="u" in word,
        marks=marks,
    )
