"""A longer look at the streams, for people: bounded in cost however long they are, and nothing is changed."""

from collections.abc import Sequence
from typing import Any

import redis

from worker.domain.deliveries import BEGINNING, entry_milliseconds, entry_order, following, size_of
from worker.domain.stream_state import Kept, LastRepair, OldestPending, Survey, Waiting
from worker.stream.clock import ServerClock
from worker.stream.link.codes import code_of
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages, text
from worker.stream.names import RedisNames
from worker.stream.paging import pages
from worker.stream.xinfo import GroupDetails, StreamDetails, StreamInformation, information

MOST_COUNTED = 20_000
MOST_BYTES = 8_388_608
MOST_PENDING_LOOKED_AT = 1000
# A replica claims what was untouched for one lease at its next scan. What was untouched for this many is
# stuck.
STUCK_LEASES = 3
MOST_SHOWN = 200
# Before, a rate would tell of the last burst alone.
LEAST_GROWN, LEAST_GROWN_S = 100, 60.0
DAY_S = 86_400


class Surveyor:
    """Asks Redis. Raises Outage where it does not answer.

    Without the stream or the group there is nothing to see.
    """

    def __init__(self, link: RedisLink, names: RedisNames, *, lease_ms: int) -> None:
        self._link = link
        self._names = names
        self._lease_ms = lease_ms
        self._information = StreamInformation(link, names)

    def survey(self) -> Survey:
        """Return what is seen now. Ages are by the clock of Redis, which also made the ids."""
        with outages():
            now_ms = ServerClock(self._link).now_ms()
            stream = self._information.stream()
            group = self._information.group() if stream else None
            return Survey(
                waiting=self._waiting(stream, group, now_ms) if stream and group else Waiting(),
                oldest=self._oldest_pending() if group else OldestPending(),
                lost_unnoticed=self._lost_unnoticed(stream, group) if stream and group else 0,
                unknown_results=int(self._link.call("ZCARD", self._names.unknown)),
                kept=self._kept(stream, self._information.results(), now_ms),
                repairs_running=int(self._link.call("ZCOUNT", self._names.repairs, now_ms, "+inf")),
                last_repair=self._last_repair(),
                refuses_writes=self._refuses_writes(),
            )

    def _refuses_writes(self) -> str | None:
        """Ask for a write that changes nothing: too few replicas, no room, no disk, and no primary tell."""
        nowhere = self._names.scratch("never-made").results
        try:
            self._link.call("XADD", nowhere, "NOMKSTREAM", "*", "type", "probe")
        except redis.exceptions.NoPermissionError:
            return None
        except redis.ResponseError as error:
            code = code_of(error)
            said = str(error)
            return (said if said.startswith(code) else f"{code} {said}")[:MOST_SHOWN]
        return None

    def _waiting(self, stream: StreamDetails, group: GroupDetails, now_ms: int) -> Waiting:
        if group.delivered_id == stream.last_id:
            return Waiting()
        after = following(group.delivered_id)
        if after is None:
            return Waiting()
        oldest = self._link.call("XRANGE", self._names.orders, after, "+", "COUNT", 1)
        if not oldest:
            return Waiting()
        age_s = _age_s(now_ms, text(oldest[0][0]))
        if not _has_read_into(stream, group):
            return Waiting(stream.length, True, age_s)
        if group.lag is not None:
            return Waiting(min(group.lag, stream.length), True, age_s)
        return Waiting(*self._counted(after), age_s)

    def _counted(self, after: str) -> tuple[int, bool]:
        """Count entries the slow way, and say whether these are all."""
        count, size = 0, 0
        for page in pages(self._link, self._names.orders, after, "+"):
            if count >= MOST_COUNTED or size >= MOST_BYTES:
                return min(count, MOST_COUNTED), False
            count += len(page)
            size += sum(size_of(fields) for _, fields in page)
        return count, True

    def _oldest_pending(self) -> OldestPending:
        names = self._names
        try:
            # Without IDLE: that would have Redis search the whole list where nothing fits.
            page: Sequence[Any] = self._link.call(
                "XPENDING", names.orders, names.group, "-", "+", MOST_PENDING_LOOKED_AT
            )
        except redis.ResponseError as error:
            if code_of(error) == "NOGROUP":
                return OldestPending()
            raise
        # Below zero where nobody holds it: its consumer gave it back by XNACK, nobody knows when.
        idle = [int(idle_ms) for _, _, idle_ms, _ in page if int(idle_ms) >= 0]
        return OldestPending(
            entry_ids=tuple(text(entry_id) for entry_id, *_ in page),
            stuck=sum(each > STUCK_LEASES * self._lease_ms for each in idle),
            longest_untouched_s=max(idle) / 1000 if idle else None,
        )

    def _kept(self, stream: StreamDetails | None, results: StreamDetails | None, now_ms: int) -> Kept:
        first_id, settled = None if stream is None else stream.first_id, self._names.settled
        facts = map(text, self._link.call("ZRANGEBYSCORE", settled, "+inf", "+inf"))
        horizon = dict(fact.split("=", 1) for fact in facts if "=" in fact).get("horizon")
        grown_s = None if results is None or not results.first_id else _age_s(now_ms, results.first_id)
        a_day = None
        grown = 0 if results is None else results.length
        if grown >= LEAST_GROWN and grown_s is not None and grown_s >= LEAST_GROWN_S:
            a_day = round(grown / grown_s * DAY_S)
        return Kept(
            first_order_age_s=None if first_id is None else _age_s(now_ms, first_id),
            settled_marks=int(self._link.call("ZCOUNT", settled, "-inf", "(+inf")),
            horizon_age_s=None if horizon is None else max(0.0, now_ms - float(horizon)) / 1000,
            trimmed_pending=int(self._link.call("ZCARD", self._names.trimmed)),
            first_result_age_s=grown_s,
            results_a_day=a_day,
        )

    def _lost_unnoticed(self, stream: StreamDetails, group: GroupDetails) -> int:
        """Return how many entries were trimmed unread since a replica last counted them.

        lost.lua will count them so.
        """
        if stream.added is None or _has_read_into(stream, group):
            return 0
        read = group.read
        if read is None and group.delivered_id == BEGINNING and not self._anything_settled():
            read = 0
        if read is None:
            return 0
        unread = 0 if group.delivered_id == stream.last_id else stream.length
        lost = max(0, stream.added - unread - read)
        return 0 if lost and group.read is not None and not self._counts_all_reads() else lost

    def _counts_all_reads(self) -> bool:
        """Whether the group's counter was set since the server was started, as lost.lua asks it, too."""
        run = self._link.call("HGET", self._names.lost, "run")
        return run is None or text(run) == information(self._link, "server").get("run_id", "")

    def _anything_settled(self) -> bool:
        names = self._names
        streams = (self._link.call("XLEN", key) for key in (names.results, names.dead_letters))
        marks = (names.settled, names.settled_before)
        return any(streams) or any(self._link.call("ZCOUNT", key, "-inf", "(+inf") for key in marks)

    def _last_repair(self) -> LastRepair | None:
        said = self._link.call("HMGET", self._names.repaired, *LastRepair.__struct_fields__)
        if not any(said):
            return None
        return LastRepair(*("" if each is None else text(each)[:MOST_SHOWN] for each in said))


def _has_read_into(stream: StreamDetails, group: GroupDetails) -> bool:
    """Whether the first entry that is there has been read."""
    return stream.first_id is not None and entry_order(stream.first_id) <= entry_order(group.delivered_id)


def _age_s(now_ms: int, entry_id: str) -> float:
    return max(0.0, (now_ms - entry_milliseconds(entry_id)) / 1000)
