"""Sentinels, asked for the primary before each connection."""

import asyncio
from contextlib import suppress
from typing import Any, cast

import redis
from redis.sentinel import MasterNotFoundError, Sentinel


class Sentinels(Sentinel):
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
            raise MasterNotFoundError(self._unknown(service_name))
        finally:
            # They are asked rarely, and nobody closes them when their pool is let go.
            for each in self.sentinels:
                each.connection_pool.disconnect(inuse_connections=False)

    def _unknown(self, service_name: str) -> str:
        """Return what is wrong: the name, where a Sentinel tells others, else that it has no primary now."""
        for each in self.sentinels:
            with suppress(redis.RedisError):
                known: list[str] = sorted(cast("dict[str, object]", each.sentinel_masters()))
                if service_name not in known:
                    others = ", ".join(map(repr, known)) or "none"
                    return f"no Sentinel knows a service {service_name!r}; known are: {others}"
        return f"no Sentinel knows a primary for {service_name!r} now"


def _failure(sentinel: Any) -> redis.RedisError | None:  # noqa: ANN401  redis-py's
    try:
        sentinel.ping()
    except redis.AuthenticationError as error:
        # In the same words as of the servers, whose account is another.
        return type(error)(f"the Sentinel refuses: {error}")
    except redis.RedisError as error:
        return error
    return None


class AsyncSentinels:
    """The same Sentinels, asked in a thread."""

    def __init__(self, sentinels: Sentinels) -> None:
        self._sentinels = sentinels

    async def discover_master(self, service_name: str) -> Any:  # noqa: ANN401  the library's, host and port
        """Return where the primary is."""
        return await asyncio.to_thread(self._sentinels.discover_master, service_name)
