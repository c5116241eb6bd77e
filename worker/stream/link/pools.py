"""Pools of connections, one for each way: whom to ask where the server is, and when."""

from contextlib import suppress
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import SSLConnection
from redis.credentials import CredentialProvider
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool

from worker.domain.ways import Kind, Way

# What is said to those who only know where the server is: the same, but for whom we are there.
_TO_ALL = ("socket_timeout", "socket_connect_timeout", "socket_keepalive", "retry", "redis_connect_func")


def pool_of(way: Way, options: dict[str, Any], a_key: str) -> redis.ConnectionPool:
    """Return a pool whose connections lead to the server of a way. Nobody is asked yet."""
    if way.kind is Kind.SENTINEL:
        return _watched(way, options)
    if way.kind is Kind.CLUSTER:
        return NodePool(way, options, a_key)
    return redis.ConnectionPool(**options)


def _watched(way: Way, options: dict[str, Any]) -> redis.ConnectionPool:
    """Return the library's own pool: it asks the Sentinels before each connection."""
    placeless = _placeless(options)
    asking = {name: each for name, each in placeless.items() if name in _TO_ALL or name.startswith("ssl")}
    # The library is half typed.
    pool: Any = SentinelConnectionPool
    sentinels: Any = _Sentinels
    asked = sentinels(way.hosts, sentinel_kwargs={"protocol": 2, **asking, **dict(way.account)})
    return cast("redis.ConnectionPool", pool(way.service, asked, **placeless))


def _placeless(options: dict[str, Any]) -> dict[str, Any]:
    """Return options of a connection as clients take them that find the place by themselves."""
    others = {
        name: each for name, each in options.items() if name not in {"host", "port", "connection_class"}
    }
    return {**others, "ssl": options.get("connection_class") is SSLConnection}


class _Sentinels(Sentinel):
    """Sentinels, one of which has to know the primary."""

    def discover_master(self, service_name: str) -> Any:  # noqa: ANN401  the library's, host and port
        """Return where the primary is. Where none answers, raise what keeps the last of them from it."""
        try:
            with suppress(MasterNotFoundError):
                return super().discover_master(service_name)  # type: ignore[no-untyped-call]
            # The library's error tells all of its own settings instead. Ours is raised here, outside: it
            # keeps what it came of.
            failed = [error for error in map(_failure, self.sentinels) if error is not None]
            if len(failed) == len(self.sentinels):
                raise failed[-1]
            raise MasterNotFoundError(f"no Sentinel knows a primary for {service_name!r} now")
        finally:
            # They are asked rarely, and nobody closes them when their pool is let go.
            for each in self.sentinels:
                each.connection_pool.disconnect(inuse_connections=False)


def _failure(sentinel: Any) -> redis.RedisError | None:  # noqa: ANN401  redis-py's
    try:
        sentinel.ping()
    except redis.RedisError as error:
        return error
    return None


class _Given(CredentialProvider):
    """User and password, asked for before."""

    def __init__(self, credentials: tuple[str, ...]) -> None:
        self._credentials = credentials

    def get_credentials(self) -> tuple[str, ...]:  # type: ignore[override]  # nothing, where the URL has none
        """Return them."""
        return self._credentials


class NodePool(redis.ConnectionPool):
    """Connections to the node of a cluster that has a key; it is asked for before each new one.

    A node that has the key no longer says so, and the place is left: then this pool is not used again.
    """

    def __init__(self, way: Way, options: dict[str, Any], a_key: str) -> None:
        super().__init__(**options)
        self._way = way
        self._options = options
        self._a_key = a_key

    def make_connection(self) -> Any:  # noqa: ANN401  redis-py's
        """Return one more connection, not open yet. Raises what redis-py raises."""
        self.locate()
        return super().make_connection()

    def locate(self) -> None:
        """Have new connections lead to the node that has the key now."""
        # What it says by itself: a cluster has one database, and repeats nothing for us.
        given = {
            name: each
            for name, each in _placeless(self._options).items()
            if name not in {"db", "retry", "protocol"}
        }
        # Asked once for all nodes that are named: where nobody answers, each would be waited for.
        given["credential_provider"] = _Given(given["credential_provider"].get_credentials())
        a_node: Any = ClusterNode
        try:
            cluster: Any = RedisCluster(
                startup_nodes=[a_node(host, port) for host, port in self._way.hosts],
                retry=Retry(NoBackoff(), 0),
                require_full_coverage=False,
                protocol=2,
                **given,
            )
            try:
                node = cluster.get_node_from_key(self._a_key)
            finally:
                cluster.close()
        except RedisClusterException as failed:
            below = _below(failed)
            # Named: its context is what is handled here from now on.
            raise below from below.__cause__ or below.__context__
        if node is None:
            raise redis.ConnectionError(f"no node of the cluster has the slot of {self._a_key}")
        self.connection_kwargs.update(host=node.host, port=node.port)


def _below(failed: BaseException) -> redis.RedisError:
    """Return the error of a node that an error of the library's client came of: that one is none of Redis."""
    error: BaseException | None = failed
    while error is not None:
        if isinstance(error, redis.RedisError) and not isinstance(error, RedisClusterException):
            return error
        error = error.__cause__ or error.__context__
    return redis.ConnectionError(str(failed))
