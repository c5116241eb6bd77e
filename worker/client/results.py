"""Reads what became of orders: of one that is awaited, or of all in turn."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from threading import Condition
from typing import TypedDict, Unpack

import redis
import redis.asyncio

from worker.client.link import (
    AsyncLink,
    Link,
    async_link_to,
    carried_out,
    carried_out_async,
    following,
    link_to,
    longest_block_s,
    run,
    run_async,
)
from worker.client.order import Added
from worker.client.outcome import OrderResult
from worker.client.reading import Give, Reading
from worker.client.tail import Tail, Tails

# How soon the worker is asked again what it has made of an entry.
ASK_AGAIN_S = 0.05


class Manner(TypedDict, total=False):
    """How results are read: where a new group begins, when others' are claimed, when to end."""

    start: str
    claim_after_s: float
    wait_s: float | None


class Results:
    """Reads results by the connections of a Redis client, which stays yours. Threads may share it."""

    def __init__(
        self,
        client: redis.Redis | Link,
        stream: str = "order_results",
        dead_letters: str = "orders:dead",
        *,
        orders: str = "orders",
        group: str = "execution",
    ) -> None:
        self._link = link_to(client)
        self._stream = stream
        self._tails = Tails(stream, dead_letters, orders, group)
        self._changed = Condition()

    def of(self, added: Added, *, timeout_s: float) -> OrderResult:
        """Return the result of an order as soon as it is published.

        Raises Buried where its dead letter comes instead, else TimeoutError. All who wait share one read: one
        of them reads, the others are told.

        A result answers for an order id. Where another entry of this id was executed, the worker's group is
        asked what this one is: a duplicate has that result, a conflict its own letter.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            tail = self._tails.join(added)
            has_looked = False
            try:
                while True:
                    known = result = tail.outcome_of(added)
                    if known is not None and known.entry_id != added.entry_id:
                        result = self._confirmed(added)
                    if result is not None:
                        return result
                    left = deadline - time.monotonic()
                    if has_looked and left <= 0:
                        raise tail.too_late(added, timeout_s)
                    wait_s = left if known is None else min(left, ASK_AGAIN_S)
                    if tail.is_being_read:
                        self._changed.wait(wait_s)
                    else:
                        self._read_on(tail, wait_s)
                    has_looked = True
            finally:
                tail.lets_go(added)

    def _confirmed(self, added: Added) -> OrderResult | None:
        self._changed.release()
        try:
            return run(self._tails.confirmed(added), self._link)
        finally:
            self._changed.acquire()

    def _read_on(self, tail: Tail, left_s: float) -> None:
        tail.is_being_read = True
        self._changed.release()
        try:
            run(tail.read_on(min(left_s, longest_block_s(self._link))), self._link)
        finally:
            self._changed.acquire()
            tail.is_being_read = False
            self._changed.notify_all()

    def read(self, group: str, consumer: str, **manner: Unpack[Manner]) -> Iterator[OrderResult]:
        """Yield every result in turn, as one consumer of a group, which goes on where it was.

        A result is acked when the loop asks for the next one: it comes again if the loop was left before.
        Each order id is given out once, as far as the last 100,000 of this call are remembered: who must
        never see one twice keeps the order ids beside what is made of them. One reader at a time uses
        the name of a consumer. A new group begins at `start` ("0": the oldest there is, "$": from now on).
        What others have left pending for `claim_after_s` is claimed, so that must be longer than the body of
        the loop takes. The loop ends once nothing has come for `wait_s`, or never.
        """
        steps = Reading(self._stream, group, consumer, longest_block_s(self._link), **manner).steps()
        step = next(steps, None)
        while step is not None:
            try:
                if isinstance(step, Give):
                    yield step.result
                    step = steps.send(None)
                else:
                    step = following(steps, carried_out(step, self._link))
            except StopIteration:
                return


class AsyncResults:
    """The same with asyncio, for any number of tasks."""

    def __init__(
        self,
        client: redis.asyncio.Redis | AsyncLink,
        stream: str = "order_results",
        dead_letters: str = "orders:dead",
        *,
        orders: str = "orders",
        group: str = "execution",
    ) -> None:
        self._link = async_link_to(client)
        self._stream = stream
        self._tails = Tails(stream, dead_letters, orders, group)
        self._changed = asyncio.Event()

    async def of(self, added: Added, *, timeout_s: float) -> OrderResult:
        """Return the result of an order as `Results.of` does."""
        deadline = time.monotonic() + timeout_s
        tail = self._tails.join(added)
        has_looked = False
        try:
            while True:
                known = result = tail.outcome_of(added)
                if known is not None and known.entry_id != added.entry_id:
                    result = await run_async(self._tails.confirmed(added), self._link)
                if result is not None:
                    return result
                left = deadline - time.monotonic()
                if has_looked and left <= 0:
                    raise tail.too_late(added, timeout_s)
                wait_s = left if known is None else min(left, ASK_AGAIN_S)
                await (self._told(wait_s) if tail.is_being_read else self._read_on(tail, wait_s))
                has_looked = True
        finally:
            tail.lets_go(added)

    async def _told(self, left_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._changed.wait()

    async def _read_on(self, tail: Tail, left_s: float) -> None:
        tail.is_being_read = True
        try:
            await run_async(tail.read_on(min(left_s, longest_block_s(self._link))), self._link)
        finally:
            tail.is_being_read = False
            # A new event for the next read: who waits for this one may not have run before that begins.
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    async def read(self, group: str, consumer: str, **manner: Unpack[Manner]) -> AsyncIterator[OrderResult]:
        """Yield every result in turn as `Results.read` does."""
        steps = Reading(self._stream, group, consumer, longest_block_s(self._link), **manner).steps()
        step = next(steps, None)
        while step is not None:
            try:
                if isinstance(step, Give):
                    yield step.result
                    step = steps.send(None)
                else:
                    step = following(steps, await carried_out_async(step, self._link))
            except StopIteration:
                return
