"""The node of a cluster that has a key: it is asked for before each connection."""

import asyncio
from typing import Any, NamedTuple

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import Connection, SSLConnection
from redis.credentials import CredentialProvider
from redis.exceptions import RedisClusterException
from redis.retry import Retry

from worker.ways.urls import Way


class _Given(CredentialProvider):
    """User and password, asked for before."""

    def __init__(self, credentials: tuple[str, ...]) -> None:
        self._credentials = credentials

    def get_credentials(self) -> tuple[str, ...]:  # type: ignore[override]  # nothing, where the URL has none
        """Return them."""
        return self._credentials


class Node(NamedTuple):
    """The node of a cluster that has a key. `options` may hold secrets."""

    way: Way
    options: dict[str, Any]
    a_key: str

    def __repr__(self) -> str:
        """Return no secret."""
        return f"Node({self.way}, {self.a_key})"

    def place(self) -> tuple[str, int]:
        """Return host and port of it now. Raises what redis-py raises of a node."""
        a_node: Any = ClusterNode
        options = dict(self.options)
        if "credential_provider" in options:
            # Asked once for all nodes that are named: where nobody answers, each would be waited for.
            options["credential_provider"] = _Given(options["credential_provider"].get_credentials())
        try:
            cluster: Any = RedisCluster(
                startup_nodes=[a_node(host, port) for host, port in self.way.hosts],
                retry=Retry(NoBackoff(), 0),
                require_full_coverage=False,
                protocol=2,
                **options,
            )
            try:
                node = cluster.get_node_from_key(self.a_key)
            finally:
                cluster.close()
        except RedisClusterException as failed:
            below = _below(failed)
            # Named: its context is what is handled here from now on.
            raise below from below.__cause__ or below.__context__
        if node is None:
            raise redis.ConnectionError(f"no node of the cluster has the slot of {self.a_key}")
        return node.host, node.port


def _below(failed: BaseException) -> redis.RedisError:
    """Return the error of a node that an error of the library's client came of: that one is none of Redis."""
    error: BaseException | None = failed
    while error is not None:
        if isinstance(error, redis.RedisError) and not isinstance(error, RedisClusterException):
            return error
        error = error.__cause__ or error.__context__
    return redis.ConnectionError(str(failed))


class _AtNode:
    """A connection that looks for its node each time it is opened.

    A node that has the key no longer says so; then the connection is to be closed, and may be used again.
    """

    def __init__(self, *, node: Node, **options: Any) -> None:  # noqa: ANN401  the library's
        super().__init__(**options)
        self._node = node


class NodeConnection(_AtNode, Connection):
    """One without TLS."""

    def _connect(self) -> Any:  # noqa: ANN401  the library's
        self.host, self.port = self._node.place()
        return super()._connect()  # type: ignore[no-untyped-call]


class NodeSSLConnection(_AtNode, SSLConnection):
    """One with TLS."""

    def _connect(self) -> Any:  # noqa: ANN401  the library's
        self.host, self.port = self._node.place()
        return super()._connect()  # type: ignore[no-untyped-call]


class AsyncNodeConnection(_AtNode, redis.asyncio.Connection):
    """One with asyncio."""

    async def connect_check_health(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  the library's
        """Connect where it is not yet."""
        if not self.is_connected:
            # Here, since the library has one error for all that its own `_connect` raises.
            self.host, self.port = await asyncio.to_thread(self._node.place)
        await super().connect_check_health(*args, **options)


class AsyncNodeSSLConnection(AsyncNodeConnection, redis.asyncio.SSLConnection):
    """One with asyncio and TLS."""
