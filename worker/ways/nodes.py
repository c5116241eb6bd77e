"""The node of a cluster that has a key: it is asked for before each connection."""

import asyncio
from typing import Any

import redis
import redis.asyncio
from redis.connection import Connection, SSLConnection
from redis.crc import key_slot
from redis.credentials import CredentialProvider

from worker.ways.asking import NotKnownError, Place, asked, patient
from worker.ways.urls import Way

# What stands for a name that a node does not have, where clients are to use names.
_NO_NAME = b"?"


class _Given(CredentialProvider):
    """User and password, asked for before."""

    def __init__(self, credentials: tuple[str, ...]) -> None:
        self._credentials = credentials

    def get_credentials(self) -> tuple[str, ...]:  # type: ignore[override]  # nothing, where the URL has none
        """Return them."""
        return self._credentials


class Node:
    """The node of a cluster that has a key. Each of the nodes that a way names can tell which that is.

    They are asked for the table of slots alone. The library's own client of clusters would also ask a node of
    its choice for the table of commands, and fail where that one is away.
    """

    def __init__(self, way: Way, options: dict[str, Any], a_key: str) -> None:
        """Take the options of a connection to one server; they may hold secrets."""
        self.a_key = a_key
        self._slot = key_slot(a_key.encode())
        self._named = asked(way.hosts)
        self._options = patient({**options, "db": 0, "protocol": 2})

    def place(self) -> Place:
        """Return host and port of it now. Raises what redis-py raises of a node."""
        options = dict(self._options)
        if "credential_provider" in options:
            # Asked once for all nodes that are named: where nobody answers, each would be waited for.
            options["credential_provider"] = _Given(options["credential_provider"].get_credentials())
        return self._named.first(lambda host: self._told_by(host, options))

    def _told_by(self, at: Place, options: dict[str, Any]) -> Place:
        host, port = at
        client = redis.Redis.from_pool(redis.ConnectionPool(**{**options, "host": host, "port": port}))
        client.response_callbacks.clear()
        try:
            ranges: Any = client.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
        finally:
            client.close()
        for first, last, (its_host, its_port, *_), *_replicas in ranges:
            if first <= self._slot <= last:
                if its_host == _NO_NAME:
                    raise NotKnownError(f"the node at port {its_port} has no cluster-announce-hostname")
                # Nodes that are told to name no host are at the one that we know.
                return its_host.decode() if its_host else host, its_port
        raise NotKnownError(f"no node of the cluster has the slot of {self.a_key}")


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
