"""Decides what a reader of all results is given next, and when it is acked."""

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import chain

import redis

from worker.client.errors import Unreadable
from worker.client.link import (
    Ask,
    Command,
    Reply,
    Steps,
    Wait,
    block,
    by_stream,
    may_be_repeated,
    pause_s,
    waited_for,
)
from worker.client.outcome import NO_RESULT, OrderResult, read_fields, read_result

_log = logging.getLogger(__name__)
CLAIMED = 100
REMEMBERED = 100_000


@dataclass(frozen=True)
class Give:
    """Give this result to the reader; the next step is asked for when the reader is done with it."""

    result: OrderResult


class Reading:
    """Reads a results stream as one consumer of a group, which goes on where it was.

    A result is acked when the reader has come back for the next one. What was not acked comes again: to this
    consumer when it reads again, to any other once `claim_after_s` has passed. A reply that was lost is
    made good the same way, by reading again what is pending for this consumer. An entry that is no result is
    handed to `unreadable`, and acked once that returns: it must not stop the reader for ever.
    """

    def __init__(
        self,
        stream: str,
        group: str,
        consumer: str,
        longest_block_s: float,
        *,
        start: str = "0",
        claim_after_s: float = 60.0,
        wait_s: float | None = None,
        unreadable: Callable[[Unreadable], None] = _log.error,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._group = group
        self._consumer = consumer
        self._start = start
        self._claim_after_s = claim_after_s
        self._wait_s = wait_s
        self._unreadable = unreadable
        self._block_s = min(longest_block_s, claim_after_s / 2, math.inf if wait_s is None else wait_s)
        self._clock = clock
        self._given: OrderedDict[str, None] = OrderedDict()
        self._is_owed = True
        self._has_read_all = False
        self._claim_from = "0-0"
        self._claim_at = self._clock()
        self._to_ack = ""

    def steps(self) -> Generator[Ask | Wait | Give, Reply, None]:
        """Give results in turn, for ever or until none has come for `wait_s`."""
        failures, has_group = 0, False
        idle_since = self._clock()
        while True:
            try:
                has_group = has_group or (yield from self._make_group())
                entries = yield from self._next()
            except redis.RedisError as error:
                if not may_be_repeated(error):
                    raise
                failures, self._is_owed = failures + 1, True
                if failures == 1:
                    _log.warning("results can't be read, trying again until they can: %s", error)
                yield Wait(pause_s(failures))
                continue
            failures = 0
            for entry_id, fields in entries:
                yield from self._give(entry_id.decode(), fields)
            if entries or self._is_owed:
                idle_since = self._clock()
            elif self._has_read_all and self._has_waited_since(idle_since):
                return

    def _has_waited_since(self, idle_since: float) -> bool:
        return self._wait_s is not None and self._clock() - idle_since >= self._wait_s

    def _give(self, entry_id: str, fields: list[Reply] | None) -> Generator[Give, None, None]:
        if fields is None:
            self._tell_trimmed(entry_id)
        else:
            try:
                result = read_result(fields)
            except NO_RESULT as error:
                self._unreadable(Unreadable(self._stream, entry_id, read_fields(fields), error))
            else:
                yield from self._give_once(result)
        self._to_ack = entry_id

    def _tell_trimmed(self, entry_id: str) -> None:
        _log.warning("result %s was trimmed before group %s had read it", entry_id, self._group)

    def _give_once(self, result: OrderResult) -> Generator[Give, None, None]:
        if result.order_id not in self._given:
            yield Give(result)
        self._given[result.order_id] = None
        self._given.move_to_end(result.order_id)
        if len(self._given) > REMEMBERED:
            self._given.popitem(last=False)

    def _make_group(self) -> Generator[Ask, Reply, bool]:
        (reply,) = yield Ask((("XGROUP", "CREATE", self._stream, self._group, self._start, "MKSTREAM"),))
        if isinstance(reply, Exception) and "BUSYGROUP" not in str(reply):
            raise reply
        return True

    def _next(self) -> Steps[list[Reply]]:
        """Return the next entry, if there is one: of what is pending for this consumer, else a new one."""
        if not self._is_owed and self._clock() >= self._claim_at:
            yield from self._claim()
        if self._is_owed:
            entries = yield from self._read("0", 0)
            self._is_owed = bool(entries)
            return entries
        entries = yield from self._read(">", self._block_s)
        self._has_read_all = not entries
        return entries

    def _claim(self) -> Steps[None]:
        """Make what others left pending for `claim_after_s` pending for this consumer."""
        idle_ms = int(self._claim_after_s * 1000)
        claim = ("XAUTOCLAIM", self._stream, self._group, self._consumer, idle_ms, self._claim_from)
        claim_from, claimed, *gone = yield from self._ask((*claim, "COUNT", CLAIMED, "JUSTID"))
        # From 7.0 on the server takes what was trimmed from the group, and names it here alone.
        for entry_id in chain.from_iterable(gone):
            self._tell_trimmed(entry_id.decode())
        self._claim_from, self._is_owed = claim_from.decode(), bool(claimed)
        if self._claim_from == "0-0":
            self._claim_at = self._clock() + self._claim_after_s / 2

    def _read(self, after: str, block_s: float) -> Steps[list[Reply]]:
        # One at a time: what waited in a list of ours could be claimed by others meanwhile.
        options = block(block_s) if block_s else ()
        read: Command = ("XREADGROUP", "GROUP", self._group, self._consumer, "COUNT", 1, *options)
        reply = yield from self._ask((*read, "STREAMS", self._stream, after), block_s)
        return [entry for _, entries in by_stream(reply) for entry in entries]

    def _ask(self, command: Command, block_s: float = 0) -> Steps[Reply]:
        """Ask, having acked what the reader is done with, in the same round trip."""
        acks = [("XACK", self._stream, self._group, self._to_ack)] if self._to_ack else []
        reply = yield from waited_for(command, block_s, *acks, clock=self._clock)
        self._to_ack = ""
        return reply
