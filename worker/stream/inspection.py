"""What the streams look like from outside, for status pages and people; reads only."""

import time
from typing import Any

import redis
from msgspec import Struct

from worker.domain.deliveries import entry_milliseconds
from worker.stream.connection import REPAIR_CONSUMER, GroupLost, RedisLink, RedisNames, outages, text


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


class StreamState(Struct, frozen=True):
    """The streams of one deployment.

    `lag` is None where the server can't tell (before 7.0, or after deletions), `lost_unread` before 7.0.
    """

    version: str
    group_exists: bool
    orders: int
    lag: int | None
    lost_unread: int | None
    pending: int
    oldest_pending_age_s: float | None
    results: int
    dead_letters: int
    consumers: tuple[ConsumerState, ...]


class StreamInspector:
    """Asks Redis about the streams of one deployment. Raises Outage where it does not answer."""

    def __init__(self, link: RedisLink, names: RedisNames) -> None:
        self._link = link
        self._names = names

    def state(self) -> StreamState:
        """Return the present state; the numbers are not of one instant."""
        names = self._names
        with outages():
            group = self._group()
            stream = self._info_stream()
            last_id = text(stream.get("last-generated-id", b""))
            return StreamState(
                version=self._version(),
                group_exists=group is not None,
                orders=self._length(names.orders),
                lag=_lag(group, last_id) if group is not None else None,
                lost_unread=self._lost() if "entries-added" in stream else None,
                pending=int(group["pending"]) if group is not None else 0,
                oldest_pending_age_s=self._oldest_pending_age() if group is not None else None,
                results=self._length(names.results),
                dead_letters=self._length(names.dead_letters),
                consumers=self._consumers() if group is not None else (),
            )

    def _call(self, *command: str) -> Any:  # noqa: ANN401  replies are untyped
        return self._link.call(*command)

    def _length(self, key: str) -> int:
        return int(self._call("XLEN", key))

    def _version(self) -> str:
        info = dict(line.split(b":", 1) for line in self._call("INFO", "server").splitlines() if b":" in line)
        return text(info.get(b"redis_version", b"unknown"))

    def _info_stream(self) -> dict[str, Any]:
        try:
            return named(self._call("XINFO", "STREAM", self._names.orders))
        except redis.ResponseError as error:
            if "no such key" in str(error):
                return {}
            raise

    def _group(self) -> dict[str, Any] | None:
        try:
            groups = [named(group) for group in self._call("XINFO", "GROUPS", self._names.orders)]
        except redis.ResponseError as error:
            if "no such key" in str(error):
                return None
            raise
        return next((group for group in groups if text(group["name"]) == self._names.group), None)

    def _lost(self) -> int:
        return int(self._call("HGET", self._names.lost, "total") or 0)

    def _oldest_pending_age(self) -> float | None:
        try:
            with outages():
                oldest = self._call("XPENDING", self._names.orders, self._names.group)[1]
        except GroupLost:
            return None
        return None if oldest is None else max(0.0, time.time() - entry_milliseconds(text(oldest)) / 1000)

    def _consumers(self) -> tuple[ConsumerState, ...]:
        try:
            reply = self._call("XINFO", "CONSUMERS", self._names.orders, self._names.group)
        except redis.ResponseError as error:
            # Gone since it was asked for.
            if "NOGROUP" in str(error) or "no such key" in str(error):
                return ()
            raise
        found = map(named, reply)
        return tuple(
            ConsumerState(text(each["name"]), int(each["pending"]), int(each["idle"])) for each in found
        )


def named(reply: Any) -> dict[str, Any]:  # noqa: ANN401  replies are untyped
    """Return a reply of names and values as a dict, in whichever form the server sends it."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {text(name): value for name, value in pairs}


def _lag(group: dict[str, Any], last_id: str) -> int | None:
    if text(group["last-delivered-id"]) == last_id:
        return 0
    lag = group.get("lag")
    return None if lag is None else int(lag)
