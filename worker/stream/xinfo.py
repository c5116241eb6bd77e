"""What XINFO says of the orders stream, its groups and consumers, and of the results.

It is read in whichever form the server sends it.
"""

from collections.abc import Mapping
from typing import Any

import redis
from msgspec import Struct

from worker.domain.stream_state import ConsumerState
from worker.stream.link.codes import code_of
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import text
from worker.stream.names import RedisNames

NOT_KNOWN = "not known"
_YES_OR_NO = {"0": "no", "1": "yes", None: None}


class StreamDetails(Struct, frozen=True):
    """What is known of a stream, which may be empty.

    Before 7.0 nobody counts what was added, nor notes what was deleted last.
    """

    length: int
    first_id: str | None
    last_id: str
    added: int | None
    deleted_id: str | None


class GroupDetails(Struct, frozen=True):
    """What is known of a group.

    How many entries it has `read`, and its `lag`, those that it has not, are None where the server can't
    tell, or says less than none.
    """

    name: str
    pending: int
    delivered_id: str
    read: int | None
    lag: int | None


class StreamInformation:
    """Asks XINFO. Raises redis-py's errors.

    What does not exist, or is gone since it was asked for, is None, or not among many.
    """

    def __init__(self, link: RedisLink, names: RedisNames) -> None:
        self._link = link
        self._names = names

    def stream(self) -> StreamDetails | None:
        """Return what is known of the stream."""
        return _stream(_named(self._ask("STREAM", self._names.orders)))

    def results(self) -> StreamDetails | None:
        """Return what is known of the results."""
        return _stream(_named(self._ask("STREAM", self._names.results)))

    def groups(self) -> list[GroupDetails]:
        """Return what is known of every group of the stream."""
        return [group_details(_named(each)) for each in self._ask("GROUPS", self._names.orders)]

    def group(self) -> GroupDetails | None:
        """Return what is known of the group."""
        return next((each for each in self.groups() if each.name == self._names.group), None)

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


def group_details(told: Mapping[str, Any]) -> GroupDetails:
    """Return what a server has told of a group."""
    read = told.get("entries-read")
    return GroupDetails(
        name=text(told["name"]),
        pending=int(told["pending"]),
        delivered_id=text(told["last-delivered-id"]),
        read=None if read is None else int(read),
        lag=_known_lag(told.get("lag")),
    )


def _known_lag(lag: int | None) -> int | None:
    return None if lag is None or int(lag) < 0 else int(lag)


def _stream(told: Mapping[str, Any]) -> StreamDetails | None:
    if not told:
        return None
    first = told.get("first-entry")
    added, deleted_id = told.get("entries-added"), told.get("max-deleted-entry-id")
    return StreamDetails(
        length=int(told["length"]),
        first_id=text(first[0]) if first else None,
        last_id=text(told["last-generated-id"]),
        added=None if added is None else int(added),
        deleted_id=None if deleted_id is None else text(deleted_id),
    )


def information(link: RedisLink, section: str) -> dict[str, str]:
    """Return what INFO says in a section, nothing where that is denied. Raises redis-py's errors."""
    lines = text(_told(link, "INFO", section) or b"").splitlines()
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}


def version(link: RedisLink) -> str:
    """Return the version of the server, with its name where it is not Redis. Raises redis-py's errors."""
    known = information(link, "server")
    if "valkey_version" in known:
        # For the sake of clients it calls itself a version of Redis, too.
        return f"Valkey {known['valkey_version']}"
    return known.get("redis_version", NOT_KNOWN)


def evicting_policy(link: RedisLink, *, expiring: bool = False) -> str | None:
    """Return the policy by which the server may evict any key, or any that is `expiring`.

    It is empty where the server may not, None where that is not known. Raises redis-py's errors.
    """
    known = information(link, "memory")
    if "maxmemory_policy" in known:
        policy, limit = known["maxmemory_policy"], known.get("maxmemory", "0")
    else:
        told = [_told(link, "CONFIG", "GET", name) for name in ("maxmemory-policy", "maxmemory")]
        if not all(told):
            return None
        policy, limit = (text(next(iter(_named(each).values()))) for each in told)
    evicts = policy != "noeviction" if expiring else policy.startswith("allkeys-")
    return policy if evicts and limit != "0" else ""


def volatile(link: RedisLink) -> str | None:
    """Return the setting by which the server may lose what it has acknowledged.

    It is empty where the server keeps that, None where that is not known. Raises redis-py's errors.
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
        # While a child rewrites the file or writes a snapshot, for minutes perhaps, that is appendfsync no,
        # whatever else is set.
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
