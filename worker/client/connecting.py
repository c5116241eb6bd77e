"""Makes Redis clients by the ways that the worker knows, which repeat nothing by themselves."""

import sys
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.credentials import CredentialProvider
from redis.retry import Retry

from worker.ways.pools import async_pool_of, pool_of
from worker.ways.urls import Way, way_of

ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S = 5.0, 3.0
_UNUSABLE = "the URL of Redis can't be used: a part of it is not what it has to be"
# By the third version the library takes a connection again on which a reply is left.
_GIVEN = {
    "socket_timeout": ANSWER_TIMEOUT_S,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "protocol": 2,
    # As many as there are threads or tasks. With fewer, an order that was never sent might have been added.
    "max_connections": sys.maxsize,
}
P = TypeVar("P", redis.ConnectionPool, "redis.asyncio.ConnectionPool")


def connect(url: str, *, stream: str = "orders", **options: Any) -> redis.Redis:  # noqa: ANN401  the library's
    """Return a client of the server that a URL leads to, in each form that REDIS_URL of the worker may have.

    With `redis+sentinel://` that is the primary, with `redis+cluster://` the node that has `stream`, also
    after another one has taken its place. Nobody is asked before the first command. `options` are those of
    redis-py's connections, such as `credential_provider`, which counts in place of user and password of the
    URL; but for `retry`. The client is yours to close. Raises ValueError where the URL or an option can't be
    used, and shows nothing of it.
    """
    way = way_of(url)
    return redis.Redis.from_pool(_judged(pool_of(way, _options(way, options), stream)))


def connect_async(url: str, *, stream: str = "orders", **options: Any) -> "redis.asyncio.Redis":  # noqa: ANN401  the library's
    """Return the same with asyncio."""
    way = way_of(url)
    return redis.asyncio.Redis.from_pool(_judged(async_pool_of(way, _options(way, options), stream)))


class _Provided(CredentialProvider):
    """What a provider gives; whatever it raises is an error of the library's.

    Only for such a one does the library close what it has opened. Else nobody is signed in on it.
    """

    def __init__(self, provider: CredentialProvider) -> None:
        self.provider = provider

    def get_credentials(self) -> Any:  # noqa: ANN401  the library's
        """Return what is sent to the server."""
        try:
            return self.provider.get_credentials()
        except Exception as error:
            raise _not_provided(error) from error

    async def get_credentials_async(self) -> Any:  # noqa: ANN401  the library's
        """Return what is sent to the server."""
        try:
            return await self.provider.get_credentials_async()
        except Exception as error:
            raise _not_provided(error) from error


def _not_provided(error: Exception) -> redis.RedisError:
    if isinstance(error, redis.RedisError):
        return error
    return redis.ConnectionError(f"credential_provider raises {type(error).__name__}")


def _options(way: Way, options: dict[str, Any]) -> dict[str, Any]:
    try:
        given: dict[str, Any] = parse_url(way.url)  # type: ignore[no-untyped-call]
    except ValueError:
        # The library's own text may show a piece of the URL.
        raise ValueError(_UNUSABLE) from None
    provider = options.get("credential_provider")
    if provider is not None:
        given = {name: each for name, each in given.items() if name not in {"username", "password"}}
        options = {**options, "credential_provider": _Provided(provider)}
    # A write that the library sends twice is there twice.
    return {**_GIVEN, **given, **options, "retry": Retry(NoBackoff(), 0)}


def _judged(pool: P) -> P:
    """Return a pool whose connections can be made: what is wrong shows now, not by the first command."""
    try:
        pool.connection_class(**pool.connection_kwargs)
    except (redis.RedisError, ValueError, TypeError):
        raise ValueError(_UNUSABLE) from None
    return pool
