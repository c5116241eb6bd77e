"""Those who may know where the server is: asked one after another, until one knows."""

import random
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, TypeAlias

import redis

Place: TypeAlias = tuple[str, int]

# Nobody is asked any more after so long: whoever looks again begins with those who were not asked. It is well
# below the time after which a replica that gives no sign of life counts as stuck.
LONGEST_S = 10.0
# For how long each of them may be silent.
PATIENCE_S = 3.0


class NotKnownError(redis.ConnectionError):
    """One who was asked answers, and does not know."""


class Asked:
    """Hosts that are asked in no order, but for those that did not know last time: they come last.

    Made by `asked` it remembers them beyond the connections of one client: in an outage those are made anew.
    """

    def __init__(self, hosts: Iterable[Place]) -> None:
        self._hosts = frozenset(hosts)
        self._of_no_help: frozenset[Place] = frozenset()

    def first(self, ask: Callable[[Place], Place]) -> Place:
        """Return the first answer. Else raise NotKnownError where one answers, or what keeps them from it."""
        failed: redis.RedisError | None = None
        ends_at = time.monotonic() + LONGEST_S
        for host in self._in_turn():
            try:
                found = ask(host)
            except (redis.RedisError, OSError, UnicodeError) as error:
                self._of_no_help |= {host}
                failed = failed if isinstance(failed, NotKnownError) else _named(error, host)
            else:
                self._of_no_help -= {host}
                return found
            if time.monotonic() > ends_at:
                break
        raise failed or redis.ConnectionError("nobody is there to be asked")

    def _in_turn(self) -> list[Place]:
        of_no_help = self._of_no_help
        return sorted(self._hosts, key=lambda host: (host in of_no_help, random.random()))  # noqa: S311  no secret


@lru_cache(maxsize=64)
def asked(hosts: tuple[Place, ...]) -> Asked:
    """Return the same for the same hosts, in all of this process."""
    return Asked(hosts)


def patient(options: dict[str, Any]) -> dict[str, Any]:
    """Return options of a connection to one who is asked."""
    waits = ("socket_timeout", "socket_connect_timeout")
    return {**options, **{name: min(options.get(name) or PATIENCE_S, PATIENCE_S) for name in waits}}


def _named(error: Exception, host: Place) -> redis.RedisError:
    """Return an error that says whose it is: the library's own words of a silent one do not."""
    if isinstance(error, redis.RedisError) and not isinstance(error, redis.TimeoutError):
        return error
    kind = redis.TimeoutError if isinstance(error, redis.TimeoutError) else redis.ConnectionError
    return kind(f"{host[0]}:{host[1]}: {error}")
