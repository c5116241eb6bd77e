"""The worlds of the client's contract: a real worker and the fake one; each with and without asyncio."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, Protocol, TypeAlias

import redis

from tests.harness import Deployment
from tests.inprocess import running
from worker.client import (
    Added,
    AsyncProducer,
    AsyncResults,
    Order,
    OrderResult,
    Producer,
    Results,
    connect,
    connect_async,
)
from worker.client.testing import FakeWorker

# Who adds orders, who awaits the result of one, and who reads all of them.
Programs: TypeAlias = tuple[AsyncProducer, AsyncResults, AsyncResults]

PATIENCE_S = 20.0
# Longer than the abandoned entries of a test have to wait to be claimed.
NOTHING_COMES_S = 0.6


class World(Protocol):
    """What there is to add orders to, and who executes them."""

    def producer(self, **how: Any) -> Producer:
        """Return a producer."""

    def awaiting(self) -> Results:
        """Return what awaits the result of an order."""

    def reading(self) -> Results:
        """Return what reads all results."""

    def asynchronous(self) -> Any:
        """Return a context of all three with asyncio."""

    def publish_again(self, order_id: str) -> None:
        """Publish a result once more, as a repair may."""

    def trim_results(self) -> None:
        """Let go of all results that there are."""


class FakeWorld:
    """The fake worker."""

    def __init__(self, worker: FakeWorker) -> None:
        self.worker = worker

    def producer(self, **how: Any) -> Producer:
        return self.worker.producer(**how)

    def awaiting(self) -> Results:
        return self.worker.results()

    def reading(self) -> Results:
        return self.worker.results()

    @asynccontextmanager
    async def asynchronous(self) -> AsyncIterator[Programs]:
        yield self.worker.async_producer(), self.worker.async_results(), self.worker.async_results()

    def publish_again(self, order_id: str) -> None:
        self.worker.publish_again(order_id)

    def trim_results(self) -> None:
        self.worker.streams._streams["order_results"].entries.clear()  # noqa: SLF001  trimmed


class RealWorld:
    """Real Redis, entered by each program as itself, and a worker where one runs."""

    def __init__(self, deployment: Deployment, opened: ExitStack) -> None:
        self._at = deployment
        self._opened = opened

    def producer(self, **how: Any) -> Producer:
        return Producer(self._entered("producer"), self._at.orders, group=self._at.group, **how)

    def awaiting(self) -> Results:
        it = self._at
        return Results(self._entered("awaiter"), it.results, it.dead_letters, orders=it.orders)

    def reading(self) -> Results:
        return Results(self._entered("reader"), self._at.results)

    @asynccontextmanager
    async def asynchronous(self) -> AsyncIterator[Programs]:
        it = self._at
        producing, awaiting, reading = (
            connect_async(it.client_url(who), stream=it.orders) for who in ("producer", "awaiter", "reader")
        )
        async with producing, awaiting, reading:
            yield (
                AsyncProducer(producing, it.orders),
                AsyncResults(awaiting, it.results, it.dead_letters, orders=it.orders),
                AsyncResults(reading, it.results),
            )

    def _entered(self, who: str) -> redis.Redis:
        client = connect(self._at.client_url(who), stream=self._at.orders)
        self._opened.callback(client.close)
        return client

    def publish_again(self, order_id: str) -> None:
        (result,) = (each for each in self._at.published() if each["order_id"] == order_id)
        self._at.redis.xadd(self._at.results, result)  # type: ignore[arg-type]

    def trim_results(self) -> None:
        self._at.redis.xtrim(self._at.results, maxlen=0, approximate=False)


@contextmanager
def fake_world() -> Iterator[World]:
    yield FakeWorld(FakeWorker())


@contextmanager
def real_world(deployment: Deployment) -> Iterator[World]:
    with running(deployment, paper_success_rate=1, batch_size=10), ExitStack() as opened:
        yield RealWorld(deployment, opened)


class Caller(Protocol):
    """A program that joins in."""

    def add(self, order: Order) -> Added:
        """Add an order."""

    def outcome(self, added: Added, timeout_s: float = PATIENCE_S) -> OrderResult:
        """Await its result."""

    def read(self, consumer: str = "one", *, left_in: str = "", **manner: Any) -> list[str]:
        """Return the order ids that are given out until nothing comes, or the loop is left in one's body."""


class SyncCaller:
    """A program without asyncio."""

    def __init__(self, world: World) -> None:
        self._producer, self._awaiting, self._reading = world.producer(), world.awaiting(), world.reading()

    def add(self, order: Order) -> Added:
        return self._producer.add(order)

    def outcome(self, added: Added, timeout_s: float = PATIENCE_S) -> OrderResult:
        return self._awaiting.of(added, timeout_s=timeout_s)

    def read(self, consumer: str = "one", *, left_in: str = "", **manner: Any) -> list[str]:
        given = []
        for result in self._reading.read("readers", consumer, wait_s=NOTHING_COMES_S, **manner):
            given.append(result.order_id)
            if result.order_id == left_in:
                break
        return given


class AsyncCaller:
    """A program with asyncio, which begins a loop for each call."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _run(self, what: Callable[[AsyncProducer, AsyncResults, AsyncResults], Any]) -> Any:
        async def run() -> Any:
            async with self._world.asynchronous() as programs:
                return await what(*programs)

        return asyncio.run(run())

    def add(self, order: Order) -> Added:
        added: Added = self._run(lambda producer, _, __: producer.add(order))
        return added

    def outcome(self, added: Added, timeout_s: float = PATIENCE_S) -> OrderResult:
        result: OrderResult = self._run(lambda _, awaiting, __: awaiting.of(added, timeout_s=timeout_s))
        return result

    def read(self, consumer: str = "one", *, left_in: str = "", **manner: Any) -> list[str]:
        async def read(_: AsyncProducer, __: AsyncResults, reading: AsyncResults) -> list[str]:
            given = []
            async for result in reading.read("readers", consumer, wait_s=NOTHING_COMES_S, **manner):
                given.append(result.order_id)
                if result.order_id == left_in:
                    break
            return given

        found: list[str] = self._run(read)
        return found
