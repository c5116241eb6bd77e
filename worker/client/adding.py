"""Decides how an order is added: in how many attempts, how durably, and whether there is room for it."""

import random
import time
from collections.abc import Generator
from itertools import count
from typing import TypedDict

import redis

from worker.client.backlog import Backlog
from worker.client.errors import Backlogged, Unanswered, Unconfirmed, Unsupported
from worker.client.link import Ask, Command, Reply, Steps, Wait, may_be_repeated, pause_s
from worker.client.order import Added, Order, before, milliseconds
from worker.client.tracing import TRACEPARENT, current_traceparent


class How(TypedDict, total=False):
    """How a producer adds orders, as `Adding` has it."""

    group: str
    attempts: int
    replicas: int
    fsynced: bool
    confirmed_within_s: float
    most_waiting: int | None
    wait_s: float
    order_id_field: str


class Adding:
    """Adds an order as often as it takes: each attempt carries the same order id and the same content.

    That is safe since the worker takes a second entry of an order that it knows for a duplicate: it is acked
    and counted, never executed.
    """

    def __init__(
        self,
        stream: str,
        *,
        group: str = "execution",
        attempts: int = 4,
        replicas: int = 0,
        fsynced: bool = False,
        confirmed_within_s: float = 2.0,
        most_waiting: int | None = None,
        wait_s: float = 0.0,
        order_id_field: str = "order_id",
    ) -> None:
        if attempts < 1 or replicas < 0:
            raise ValueError(f"attempts is {attempts}, at least 1, and replicas {replicas}, at least 0")
        self._stream = stream
        self._order_id_field = order_id_field
        self._attempts = attempts
        self._wait_s = wait_s
        self._backlog = None if most_waiting is None else Backlog(stream, group, most_waiting)
        self._confirmed_within_s = confirmed_within_s
        within_ms = max(1, int(confirmed_within_s * 1000))
        self._replicas = replicas
        self._confirm: Command | None = ("WAIT", replicas, within_ms) if replicas else None
        if fsynced:
            self._confirm = ("WAITAOF", 1, replicas, within_ms)
        self._tried = not fsynced

    def refuse_waits_beyond(self, patience_s: float) -> None:
        """Raise ValueError where a confirmation would take longer than the connection waits for a reply."""
        if self._confirm and self._confirmed_within_s > patience_s:
            raise ValueError(
                f"confirmed_within_s is {self._confirmed_within_s:g}, more than {patience_s:g}: "
                "give the Redis client a socket_timeout of at least twice as much"
            )

    def steps(self, order: Order) -> Steps[Added]:
        """Add an order. Raises what `errors` has, and what redis-py raises where Redis refuses it."""
        began = time.monotonic()
        # Once: whatever each attempt finds active, all of them send the same.
        traceparent = order.traceparent or current_traceparent()
        has_begun = may_be_added = False
        for attempt in count(1):
            try:
                has_begun = has_begun or (yield from self._begin(order))
                replies = yield from self._send(order, traceparent)
            except redis.RedisError as error:
                # Whatever refuses it now, an attempt before that had no answer may have added it. An answer
                # that nobody can read is none.
                may_be_added = may_be_added or isinstance(error, redis.exceptions.InvalidResponse)
                if not (may_be_repeated(error) or may_be_added):
                    raise
                if attempt == self._attempts or not may_be_repeated(error):
                    raise Unanswered(order, attempt, error) from error
                may_be_added = may_be_added or (has_begun and not isinstance(error, redis.ResponseError))
                yield Wait(pause_s(attempt) * random.uniform(0.5, 1))  # noqa: S311  spreads producers
            else:
                return self._added(order, replies, time.monotonic() - began)
        raise AssertionError("unreachable")

    def _begin(self, order: Order) -> Steps[bool]:
        if not self._tried:
            (reply,) = yield Ask((("WAITAOF", 1, self._replicas, 1),))
            if isinstance(reply, redis.ResponseError) and not may_be_repeated(reply):
                raise Unsupported(f"order {order.order_id} was not sent: {reply}")
            self._tried = True
        if self._backlog is not None and not (yield from self._backlog.room(self._wait_s)):
            raise Backlogged(order, self._backlog.waiting, self._backlog.most)
        return True

    def _send(self, order: Order, traceparent: str | None) -> Generator[Ask, Reply, list[Reply]]:
        entry = order.entry(self._order_id_field)
        if traceparent is not None:
            entry.setdefault(TRACEPARENT, traceparent)
        fields = [part for pair in entry.items() for part in pair]
        add: Command = ("XADD", self._stream, "*", *fields)
        replies: list[Reply] = yield Ask((add, self._confirm) if self._confirm else (add,))
        if isinstance(replies[0], redis.ResponseError):
            raise replies[0]
        return replies

    def _added(self, order: Order, replies: list[Reply], took_s: float) -> Added:
        entry_id = replies[0].decode()
        added = Added(entry_id, order.order_id, before(milliseconds(entry_id) - int(took_s * 1000)))
        if self._confirm:
            said = self._lacking(replies[1])
            if said:
                raise Unconfirmed(order, added, said)
        return added

    def _lacking(self, reply: Reply) -> str:
        if isinstance(reply, Exception):
            return f"it is not confirmed: {reply}"
        wanted, got = ([1, self._replicas], reply) if isinstance(reply, list) else ([self._replicas], [reply])
        if all(have >= want for have, want in zip(got, wanted, strict=True)):
            return ""
        fsynced = "" if got[0] >= wanted[0] or len(got) == 1 else "the primary has not fsynced it, "
        confirmed = f"{got[-1]} of {self._replicas} replicas confirmed it"
        return f"{fsynced}{confirmed} within {self._confirmed_within_s:g} s"
