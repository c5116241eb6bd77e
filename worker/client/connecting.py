"""Makes Redis clients by the ways that the worker knows, which repeat nothing by themselves."""

from typing import Any

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from worker.ways.pools import async_pool_of, pool_of
from worker.ways.urls import Way, way_of

ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S = 5.0, 3.0
# A write that the library sends twice is there twice.
_ONCE = {"retry": Retry(NoBackoff(), 0)}


def connect(url: str, *, stream: str = "orders", **options: Any) -> redis.Redis:  # noqa: ANN401  the library's
    """Return a client of the server that a URL leads to, in each form that REDIS_URL of the worker may have.

    With `redis+sentinel://` that is the primary, with `redis+cluster://` the node that has `stream`, also
    after another one has taken its place. Nobody is asked before the first command. `options` are those of
    redis-py's connections, such as `credential_provider`; but for `retry`. The client is yours to close.
    Raises ValueError where the URL can't be used, and shows nothing of it.
    """
    way = way_of(url)
    return redis.Redis.from_pool(pool_of(way, {**_options(way), **options, **_ONCE}, stream))


def connect_async(url: str, *, stream: str = "orders", **options: Any) -> "redis.asyncio.Redis":  # noqa: ANN401  the library's
    """Return the same with asyncio."""
    way = way_of(url)
    return redis.asyncio.Redis.from_pool(async_pool_of(way, {**_options(way), **options, **_ONCE}, stream))


def _options(way: Way) -> dict[str, Any]:
    try:
        given: dict[str, Any] = parse_url(way.url)  # type: ignore[no-untyped-call]
    except ValueError:
        # The library's own text may show a piece of the URL.
        raise ValueError("the URL of Redis can't be used: a part of it is not what it has to be") from None
    waits = {"socket_timeout": ANSWER_TIMEOUT_S, "socket_connect_timeout": CONNECT_TIMEOUT_S}
    return {**waits, **given}
