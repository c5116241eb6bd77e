"""Reading a stream page by page."""

from collections.abc import Iterator
from typing import Any

from worker.domain.deliveries import FIRST_COUNT, following, next_count, size_of
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages, text

PAGE = 500
# More than results and most letters take; what anybody may add takes any number.
PAGE_BYTES = 4 << 20


def pages(
    link: RedisLink, key: str, first: str, last: str, *, count: int = FIRST_COUNT, backwards: bool = False
) -> Iterator[Any]:
    """Yield raw entries between two ids, both among them; one with `(` before it is left out. Raises Outage.

    A page has at most PAGE entries, `count` at first, and fewer where entries are large, so that no page is
    as large as a stream. Backwards the newest come first.
    """
    place: str | None = last if backwards else first
    if not backwards and first.startswith("("):
        # Only from 6.2 on, and not where nothing can come behind.
        place = following(first[1:])
    while place is not None:
        bounds = ("XREVRANGE", key, place, first) if backwards else ("XRANGE", key, place, last)
        with outages():
            page = link.call(*bounds, "COUNT", count)
        if page:
            yield page
        if len(page) < count:
            # Not until nothing more is found: while many add, something always is.
            return
        end = text(page[-1][0])
        place = f"({end}" if backwards else following(end)
        count = next_count(count, (size_of(fields) for _, fields in page), most=PAGE, most_bytes=PAGE_BYTES)
