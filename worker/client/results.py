"""Reads what became of orders: of one that is awaited, or of all in turn."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from threading import TIMEOUT_MAX, Condition
from typing import TypedDict, Unpack

import redis
import redis.asyncio

from worker.client.errors import Buried, Unreadable
from worker.client.link import (
    AsyncLink,
    Link,
    carried_out,
    carried_out_async,
    following,
    longest_block_s,
    run,
    run_async,
)
from worker.client.order import Added
from worker.client.outcome import Letter, OrderResult, Outcome
from worker.client.reading import Give, Reading
from worker.client.sending import async_link_to, link_to
from worker.client.tail import Tail, Tails, Waiting


class Manner(TypedDict, total=False):
    """How results are read: from where, when others' are claimed, when to end, what is done with the rest."""

    start: str
    claim_after_s: float
    wait_s: float | None
    unreadable: Callable[[Unreadable], None]


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
        self._link = link_to(client, stream)
        self._stream = stream
        self._tails = Tails(stream, dead_letters, orders, group)
        self._changed = Condition()

    def of(self, added: Added, *, timeout_s: float) -> OrderResult:
        """Return the result of an order as soon as it is published.

        Raises Buried where its dead letter comes instead, else TimeoutError. All who wait share one read: one
        of them reads, the others are told.

        What became of another entry of this order id is none of this one's before the worker has settled it:
        then a duplicate has that outcome, however old, and a conflict its own letter.
        """
        waiting = Waiting(added, timeout_s)
        with self._changed:
            tail = self._tails.join(added)
            has_looked = False
            try:
                while True:
                    known = outcome = tail.outcome_of(added)
                    if waiting.asks(known):
                        outcome = self._confirmed(added, waiting)
                    if outcome is not None:
                        return result_of(added, outcome)
                    wait_s = waiting.wait_s(known)
                    if has_looked and waiting.is_over:
                        raise waiting.too_late(tail)
                    if tail.is_being_read:
                        self._changed.wait(min(wait_s, TIMEOUT_MAX))
                    else:
                        self._read_on(tail, wait_s)
                    has_looked = True
            finally:
                tail.lets_go(added)

    def _confirmed(self, added: Added, waiting: Waiting) -> Outcome | None:
        self._changed.release()
        try:
            return run(self._tails.confirmed(added, waiting), self._link)
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
        the loop takes. The loop ends once nothing has come for `wait_s`, or never; an outage is waited out.
        What is no result is handed to `unreadable`, which logs it, and passed over: what that raises ends the
        loop, and the entry comes again.
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
        self._link = async_link_to(client, stream)
        self._stream = stream
        self._tails = Tails(stream, dead_letters, orders, group)
        self._changed = asyncio.Event()

    async def of(self, added: Added, *, timeout_s: float) -> OrderResult:
        """Return the result of an order as `Results.of` does."""
        waiting = Waiting(added, timeout_s)
        tail = self._tails.join(added)
        has_looked = False
        try:
            while True:
                known = outcome = tail.outcome_of(added)
                if waiting.asks(known):
                    outcome = await run_async(self._tails.confirmed(added, waiting), self._link)
                if outcome is not None:
                    return result_of(added, outcome)
                wait_s = waiting.wait_s(known)
                if has_looked and waiting.is_over:
                    raise waiting.too_late(tail)
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


def result_of(added: Added, outcome: Outcome) -> OrderResult:
    """Return the result that an outcome is. Raises Buried where it is a dead letter."""
    if isinstance(outcome, Letter):
        raise Buried(added.order_id, outcome.entry_id, outcome.reason, outcome.error)
    return outcome
