"""What XINFO says of the orders stream, its groups and consumers, and of the results, in whichever form the server sends it."""

from typing import Any

import redis
from msgspec import Struct

from worker.stream.codes import code_of
from worker.stream.connection import REPAIR_CONSUMER, RedisLink, RedisNames, text

NOT_KNOWN = "not known"
_YES_OR_NO = {"0": "no", "1": "yes", None: None}


class ConsumerState(Struct, frozen=True):
    """One consumer of the group: how much it holds, and how long ago it last asked for anything."""

    name: str
    pending: int
    idle_ms: int

    @property
    def is_replica(self) -> bool:
        """Whether it is a worker, or was: what a repair has made pending is held by nobody who works."""
        return self.name != REPAIR_CONSUMER

    def is_gone(self, *, lease_ms: int, block_ms: int) -> bool:
        """Whether it was not heard of for longer than any that is at work: its process has ended, hangs, or is cut off.

        At work it asks at every read, and every quarter of a lease, when it renews and scans.
        """
        return self.idle_ms > 2 * max(lease_ms, block_ms)


class StreamInformation:
    """Asks XINFO. What does not exist, or is gone since it was asked for, is empty. Raises redis-py's errors."""

    def __init__(self, link: RedisLink, names: RedisNames) -> None:
        self._link = link
        self._names = names

    def stream(self) -> dict[str, Any]:
        """Return what is known of the stream."""
        return _named(self._ask("STREAM", self._names.orders))

    def results(self) -> dict[str, Any]:
        """Return what is known of the results."""
        return _named(self._ask("STREAM", self._names.results))

    def groups(self) -> list[dict[str, Any]]:
        """Return what is known of every group of the stream."""
        return [_named(each) for each in self._ask("GROUPS", self._names.orders)]

    def group(self) -> dict[str, Any]:
        """Return what is known of the group."""
        return next((each for each in self.groups() if text(each["name"]) == self._names.group), {})

    def consumers(self) -> list[ConsumerState]:
        """Return the consumers of the group."""
        found = map(_named, self._ask("CONSUMERS", self._names.orders, self._names.group))
        return [ConsumerState(text(each["name"]), int(each["pending"]), int(each["idle"])) for each in found]

    def _ask(self, what: str, *arguments: str) -> Any:  # noqa: ANN401  replies are untyped
        try:
            return self._link.call("XINFO", what, *arguments)
        except redis.ResponseError as error:
            # Of a key that is not there the code is ERR.
            if code_of(error) == "NOGROUP" or "no such key" in str(error):
                return []
            raise


def known_lag(group: dict[str, Any]) -> int | None:
    """Return how many entries the group has not read; None where the server can't tell, or says less than none."""
    lag = group.get("lag")
    return None if lag is None or int(lag) < 0 else int(lag)


def information(link: RedisLink, section: str) -> dict[str, str]:
    """Return what INFO says in a section, nothing where that is denied. Raises redis-py's errors."""
    lines = text(_told(link, "INFO", section) or b"").splitlines()
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}


def version(link: RedisLink) -> str:
    """Return the name and version of the server, the name only where it is not Redis. Raises redis-py's errors."""
    known = information(link, "server")
    if "valkey_version" in known:
        # For the sake of clients it calls itself a version of Redis, too.
        return f"Valkey {known['valkey_version']}"
    return known.get("redis_version", NOT_KNOWN)


def evicting_policy(link: RedisLink) -> str | None:
    """Return the policy by which the server may evict any key, empty where it may not, None where that is not known.

    Raises redis-py's errors.
    """
    known = information(link, "memory")
    if "maxmemory_policy" in known:
        policy, limit = known["maxmemory_policy"], known.get("maxmemory", "0")
    else:
        told = [_told(link, "CONFIG", "GET", name) for name in ("maxmemory-policy", "maxmemory")]
        if not all(told):
            return None
        policy, limit = (text(next(iter(_named(each).values()))) for each in told)
    return policy if policy.startswith("allkeys-") and limit != "0" else ""


def volatile(link: RedisLink) -> str | None:
    """Return the setting by which the server may lose what it has acknowledged, empty where it keeps it, None where that is not known.

    Raises redis-py's errors.
    """
    told = _told(link, "CONFIG", "GET", "*append*")
    known = {name: text(value) for name, value in _named(told or []).items()}
    enabled = known.get("appendonly") or _YES_OR_NO.get(information(link, "persistence").get("aof_enabled"))
    if enabled == "no":
        return "appendonly no"
    fsync = known.get("appendfsync")
    if fsync == "no":
        return "appendfsync no"
    if enabled and known.get("no-appendfsync-on-rewrite") == "yes":
        # While a child rewrites the file or writes a snapshot, for minutes perhaps, that is appendfsync no, whatever else is set.
        return "no-appendfsync-on-rewrite yes"
    return "" if enabled and fsync else None


def _told(link: RedisLink, *command: str) -> Any:  # noqa: ANN401  replies are untyped
    """Return a reply, or None where the command is denied: some services let nobody ask."""
    try:
        return link.call(*command)
    except redis.exceptions.NoPermissionError:
        return None
    except redis.ResponseError as error:
        # The code is ERR, as that of any error.
        if "unknown command" in str(error).lower():
            return None
        raise


def _named(reply: Any) -> dict[str, Any]:  # noqa: ANN401  replies are untyped
    """Return a reply of names and values as a dict, in whichever form the server sends it."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {text(name): value for name, value in pairs}
