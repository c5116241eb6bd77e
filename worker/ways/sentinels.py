"""Sentinels, asked for the primary before each connection."""

import asyncio
from typing import Any

import redis
from redis.sentinel import Sentinel, SentinelManagedConnection, SentinelManagedSSLConnection

from worker.ways.asking import NotKnownError, Place, asked


class Sentinels(Sentinel):
    """Sentinels, one of which has to know the primary."""

    def __init__(self, hosts: tuple[Place, ...], asking: dict[str, Any]) -> None:
        """Take whom to ask, and the options of connections to them."""
        super().__init__(hosts, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
        self._by_host = dict(zip(hosts, self.sentinels, strict=True))
        self._asked = asked(hosts)

    def discover_master(self, service_name: str) -> Place:
        """Return where the primary is. Where none answers, raise what keeps one of them from it."""
        return self._asked.first(lambda host: self._told_by(self._by_host[host], service_name))

    def _told_by(self, sentinel: redis.Redis, service_name: str) -> Place:
        try:
            known: Any = sentinel.sentinel_masters()
        except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
            # In the same words as of the servers, whose account is another.
            raise type(error)(f"the Sentinel refuses: {error}") from error
        finally:
            # They are asked rarely, and nobody closes them when their pool is let go.
            sentinel.connection_pool.disconnect(inuse_connections=False)
        if service_name not in known:
            others = ", ".join(map(repr, sorted(known))) or "none"
            raise NotKnownError(f"no Sentinel knows a service {service_name!r}; known are: {others}")
        state = known[service_name]
        if not self.check_master_state(state, service_name):  # type: ignore[no-untyped-call]
            raise NotKnownError(f"no Sentinel knows a primary for {service_name!r} now")
        return state["ip"], state["port"]


class _Whole:
    """A connection that is closed where a reply is not read to its end.

    That of the library is kept, and what comes late would be taken for the reply to the next command.
    """

    def read_response(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401  the library's
        """Read a reply."""
        base: Any = super()
        return base.read_response(*args, **{"disconnect_on_error": True, **options})


class PrimaryConnection(_Whole, SentinelManagedConnection):
    """One to the primary that Sentinel names."""


class PrimarySSLConnection(_Whole, SentinelManagedSSLConnection):
    """The same with TLS."""


class AsyncSentinels:
    """The same Sentinels, asked in a thread."""

    def __init__(self, sentinels: Sentinels) -> None:
        self._sentinels = sentinels

    async def discover_master(self, service_name: str) -> Any:  # noqa: ANN401  the library's, host and port
        """Return where the primary is."""
        return await asyncio.to_thread(self._sentinels.discover_master, service_name)
