"""Reading a stream page by page."""

from collections.abc import Iterator
from typing import Any

from worker.domain.deliveries import following
from worker.stream.connection import RedisLink, outages, text


def pages(link: RedisLink, key: str, first: str, last: str, *, size: int) -> Iterator[Any]:
    """Yield raw entries from one id up to another, so many at a time; an id with `(` before it is left out. Raises Outage."""
    start = following(first[1:]) if first.startswith("(") else first
    while start is not None:
        with outages():
            page = link.call("XRANGE", key, start, last, "COUNT", size)
        if not page:
            return
        yield page
        start = following(text(page[-1][0]))
