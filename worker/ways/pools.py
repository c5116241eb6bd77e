"""Pools of connections, one for each way: whom to ask where the server is, before each connection."""

from typing import Any, cast

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelConnectionPool
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.driver_info import DriverInfo
from redis.sentinel import SentinelConnectionPool

from worker.ways.asking import patient
from worker.ways.nodes import (
    AsyncNodeConnection,
    AsyncNodeSSLConnection,
    Node,
    NodeConnection,
    NodeSSLConnection,
)
from worker.ways.sentinels import AsyncSentinels, PrimaryConnection, PrimarySSLConnection, Sentinels
from worker.ways.urls import Kind, Way

# What is said to those who only know where the server is: the same, but for whom we are there.
_TO_ALL = (
    "socket_timeout", "socket_connect_timeout", "socket_keepalive", "retry", "redis_connect_func",
    "driver_info",
)  # fmt: skip
# Else each connection says by CLIENT SETINFO which library it is of. Whoever has the least rights may not,
# and each refusal would be a line of the server's ACL LOG.
_UNNAMED: dict[str, Any] = {"driver_info": DriverInfo(name="", lib_version="")}


def pool_of(way: Way, options: dict[str, Any], a_key: str) -> redis.ConnectionPool:
    """Return a pool whose connections lead to the server of a way. Nobody is asked yet.

    `options` are those of a connection to `way.url`, `a_key` is one by which a cluster knows its node.
    """
    options = {**_UNNAMED, **options}
    if way.kind is Kind.SENTINEL:
        pool: Any = SentinelConnectionPool
        placeless = _placeless(options)
        to_primary = PrimarySSLConnection if _is_tls(options) else PrimaryConnection
        made = pool(way.service, _asked(way, placeless), connection_class=to_primary, **placeless)
        return cast("redis.ConnectionPool", made)
    if way.kind is Kind.CLUSTER:
        at_node = NodeSSLConnection if _is_tls(options) else NodeConnection
        return redis.ConnectionPool(connection_class=at_node, **_at_node(way, options, options, a_key))
    return redis.ConnectionPool(**options)


def async_pool_of(way: Way, options: dict[str, Any], a_key: str) -> redis.asyncio.ConnectionPool:
    """Return the same with asyncio, from the same options."""
    options = {**_UNNAMED, **options}
    theirs = {**options, "retry": AsyncRetry(NoBackoff(), 0)}
    if way.kind is Kind.SENTINEL:
        pool: Any = AsyncSentinelConnectionPool
        sentinels = AsyncSentinels(_asked(way, _placeless(options)))
        return cast("redis.asyncio.ConnectionPool", pool(way.service, sentinels, **_placeless(theirs)))
    if way.kind is Kind.CLUSTER:
        at_node = AsyncNodeSSLConnection if _is_tls(options) else AsyncNodeConnection
        kept = _at_node(way, theirs, options, a_key)
        return redis.asyncio.ConnectionPool(connection_class=at_node, **kept)
    theirs["connection_class"] = _ASYNC[options.get("connection_class", Connection)]
    return redis.asyncio.ConnectionPool(**theirs)


_ASYNC: dict[type, type[redis.asyncio.connection.AbstractConnection]] = {
    Connection: redis.asyncio.Connection,
    SSLConnection: redis.asyncio.SSLConnection,
    UnixDomainSocketConnection: redis.asyncio.UnixDomainSocketConnection,
}


def seeks(pool: "redis.ConnectionPool | redis.asyncio.ConnectionPool") -> "Node | None":
    """Return which node the connections of a pool lead to, None where they do not lead into a cluster."""
    node: Node | None = pool.connection_kwargs.get("node")
    return node


def whereabouts(pool: redis.ConnectionPool) -> str:
    """Return where a connection of a pool leads now, and who says so, without user or password.

    Raises what redis-py raises of a server that is away.
    """
    connection: Any = pool.get_connection()
    try:
        at = getattr(connection, "path", None) or f"{connection.host}:{connection.port}"
    finally:
        pool.release(connection)
    if isinstance(pool, SentinelConnectionPool):
        return f"{at} (as Sentinel says of {pool.service_name})"
    return f"{at} (a node of a cluster)" if seeks(pool) is not None else at


def _is_tls(options: dict[str, Any]) -> bool:
    return options.get("connection_class") is SSLConnection


def _placeless(options: dict[str, Any]) -> dict[str, Any]:
    """Return options of a connection as clients take them that find the place by themselves."""
    others = {
        name: each for name, each in options.items() if name not in {"host", "port", "connection_class"}
    }
    return {**others, "ssl": _is_tls(options)}


def _asked(way: Way, placeless: dict[str, Any]) -> Sentinels:
    asking = {name: each for name, each in placeless.items() if name in _TO_ALL or name.startswith("ssl")}
    return Sentinels(way.hosts, {"protocol": 2, **patient(asking), **dict(way.account)})


def _at_node(way: Way, options: dict[str, Any], asking: dict[str, Any], a_key: str) -> dict[str, Any]:
    """Return what a connection into a cluster takes. A cluster has one database."""
    placeless = _placeless(options)
    del placeless["ssl"]
    host, port = way.hosts[0]
    return {**placeless, "host": host, "port": port, "node": Node(way, asking, a_key)}
