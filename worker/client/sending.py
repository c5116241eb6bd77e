"""Sends commands by the connections of a Redis client, and leaves a server that is not what it was."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis.client import NEVER_DECODE
from redis.crc import key_slot

from worker.client.link import AsyncLink, Command, Link, Reply, may_be_repeated
from worker.ways.pools import seeks

# What redis-py takes where nothing else is said.
SOCKET_TIMEOUT_S = 5.0
L = TypeVar("L")


class RedisLink:
    """Uses the connections of a client, whatever it makes of replies itself."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = redis.Redis(connection_pool=client.connection_pool)
        self._client.response_callbacks.clear()
        self.patience_s = _patience_s(client)

    def call(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one go, and return their replies in bytes, errors among them."""
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command, **{NEVER_DECODE: True})  # type: ignore[no-untyped-call]
                replies = list(pipeline.execute(raise_on_error=False))
        except redis.RedisError as error:
            self._leave_for([error])
            raise
        except BaseException:
            # Interrupted: a reply that is still to come would be taken for that to the next command.
            self._leave()
            raise
        self._leave_for(replies)
        return replies

    def _leave_for(self, replies: list[Reply]) -> None:
        """Have each connection made anew where what it leads to is away, or not what it was."""
        if any(map(_tells_of_its_place, replies)):
            self._leave()

    def _leave(self) -> None:
        pool: Any = self._client.connection_pool
        pool.update_active_connections_for_reconnect()
        pool.disconnect(inuse_connections=False)


class AsyncRedisLink:
    """Uses the connections of a client with asyncio, whatever it makes of replies itself."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        self._client = redis.asyncio.Redis(connection_pool=client.connection_pool)
        self._client.response_callbacks.clear()
        self.patience_s = _patience_s(client)

    async def call(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one go, and return their replies in bytes, errors among them."""
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command, **{NEVER_DECODE: True})
                replies = list(await pipeline.execute(raise_on_error=False))
        except redis.RedisError as error:
            await self._leave_for([error])
            raise
        await self._leave_for(replies)
        return replies

    async def _leave_for(self, replies: list[Reply]) -> None:
        """Have each connection made anew where what it leads to is away, or not what it was."""
        if any(map(_tells_of_its_place, replies)):
            pool: Any = self._client.connection_pool
            await pool.update_active_connections_for_reconnect()
            await pool.disconnect(inuse_connections=False)


def _tells_of_its_place(reply: Reply) -> bool:
    """Whether a server is away or not what it was; one that has no connection left for us is neither."""
    return may_be_repeated(reply) and not isinstance(reply, redis.exceptions.MaxConnectionsError)


def link_to(client: redis.Redis | Link, stream: str) -> Link:
    """Return what sends commands about a stream by a client. Raises TypeError or ValueError."""
    if not isinstance(client, redis.Redis):
        return _no_other_client(client)
    _require_slot(client, stream)
    return RedisLink(client)


def async_link_to(client: "redis.asyncio.Redis | AsyncLink", stream: str) -> AsyncLink:
    """Return the same with asyncio."""
    if not isinstance(client, redis.asyncio.Redis):
        return _no_other_client(client)
    _require_slot(client, stream)
    return AsyncRedisLink(client)


def _require_slot(client: "redis.Redis | redis.asyncio.Redis", stream: str) -> None:
    """Refuse a stream that a cluster may have at another node than the client is made for."""
    node = seeks(client.connection_pool)
    if node is not None and key_slot(stream.encode()) != key_slot(node.a_key.encode()):
        raise ValueError(
            f"in a cluster {stream!r} may be elsewhere than {node.a_key!r}, for which the client is made: "
            f"all streams have to share a hash tag; connect(url, stream={stream!r}) leads to it"
        )


def _no_other_client(link: L) -> L:
    if not hasattr(link, "patience_s"):
        raise TypeError(
            f"{type(link).__module__}.{type(link).__name__} can't be used here: with asyncio it takes a "
            "redis.asyncio.Redis, without a redis.Redis; for a cluster make it by connect(url)"
        )
    return link


def _patience_s(client: "redis.Redis | redis.asyncio.Redis") -> float:
    # What takes as long as the socket waits would look like a silent server.
    timeout_s = client.connection_pool.connection_kwargs.get("socket_timeout", SOCKET_TIMEOUT_S)
    return math.inf if timeout_s is None else float(timeout_s) / 2
