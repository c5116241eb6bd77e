"""What the streams look like from outside, for status pages and people; reads only."""

import time
from typing import Any

from worker.domain.deliveries import BEGINNING, entry_milliseconds, following
from worker.domain.stream_state import StreamState
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import GroupLost, outages, text
from worker.stream.names import RedisNames
from worker.stream.xinfo import (
    GroupDetails,
    StreamDetails,
    StreamInformation,
    evicting_policy,
    version,
    volatile,
)


class StreamInspector:
    """Asks Redis about the streams of one deployment. Raises Outage where it does not answer."""

    def __init__(self, link: RedisLink, names: RedisNames) -> None:
        self._link = link
        self._names = names
        self._information = StreamInformation(link, names)

    def state(self) -> StreamState:
        """Return the present state; the numbers are not of one instant."""
        names = self._names
        with outages():
            group = self._information.group()
            stream = self._information.stream()
            results = self._information.results()
            set_aside = self._call("ZREVRANGE", names.set_aside, "0", "0")
            return StreamState(
                version=version(self._link),
                eviction=evicting_policy(self._link),
                volatile=volatile(self._link),
                group_exists=group is not None,
                orders=self._length(names.orders),
                lag=_lag(group, stream) if group else None,
                lost_unread=None if stream is None or stream.added is None else self._lost(),
                pending=group.pending if group else 0,
                oldest_pending_age_s=self._oldest_pending_age() if group else None,
                set_aside=int(self._call("ZCARD", names.set_aside)),
                a_set_aside=text(set_aside[0]) if set_aside else None,
                lost_rows=int(self._call("ZCARD", names.lost_rows)),
                results=0 if results is None else results.length,
                published=_published(results),
                dead_letters=self._length(names.dead_letters),
                consumers=tuple(self._information.consumers()) if group else (),
                oldest_waiting_age_s=self._oldest_waiting_age(group, stream),
            )

    def _call(self, *command: str) -> Any:  # noqa: ANN401  replies are untyped
        return self._link.call(*command)

    def _length(self, key: str) -> int:
        return int(self._call("XLEN", key))

    def _lost(self) -> int:
        return int(self._call("HGET", self._names.lost, "total") or 0)

    def _oldest_waiting_age(self, group: GroupDetails | None, stream: StreamDetails | None) -> float | None:
        """Return the age of the first entry that nobody has taken; most often there is none."""
        if stream is None or (group is not None and group.delivered_id == stream.last_id):
            return None
        after = following(group.delivered_id if group is not None else BEGINNING)
        found = [] if after is None else self._call("XRANGE", self._names.orders, after, "+", "COUNT", "1")
        return _age_s(text(found[0][0])) if found else None

    def _oldest_pending_age(self) -> float | None:
        try:
            with outages():
                oldest = self._call("XPENDING", self._names.orders, self._names.group)[1]
        except GroupLost:
            return None
        return None if oldest is None else _age_s(text(oldest))


def _age_s(entry_id: str) -> float:
    return max(0.0, time.time() - entry_milliseconds(entry_id) / 1000)


def _lag(group: GroupDetails, stream: StreamDetails | None) -> int | None:
    has_read_all = stream is not None and group.delivered_id == stream.last_id
    return 0 if has_read_all else group.lag


def _published(results: StreamDetails | None) -> int:
    if results is None:
        return 0
    return results.length if results.added is None else results.added
