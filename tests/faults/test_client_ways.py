"""A producer and a reader of another program follow the server that takes orders, by each way."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis.crc import key_slot

from local import LocalRedis
from tests.faults.moving import MovingRedis
from tests.gathering import LOOPBACK, PATIENCE_MS, Cluster, Watched, asked, gathered
from worker.client import AsyncProducer, Order, Producer, Results, connect, connect_async

ORDERS = "{a}orders"
# One that finds out, and one that is taken.
ATTEMPTS = 2


@contextmanager
def named(folder: Path) -> Iterator[tuple[str, Callable[[], LocalRedis]]]:
    """Give a name, and what leads it to another server. The one of before lives on and takes no writes."""
    first = LocalRedis(folder / "first")
    first.start()
    try:
        with MovingRedis.made(first, folder) as moving:

            def move() -> LocalRedis:
                promoted = moving.demote()
                moving.lead_to(promoted)
                return promoted

            yield moving.url, move
    finally:
        first.stop()


@contextmanager
def watched(folder: Path) -> Iterator[tuple[str, Callable[[], LocalRedis]]]:
    """The same by Sentinel."""
    with gathered(Watched, folder, PATIENCE_MS) as made:
        assert isinstance(made, Watched)

        def move() -> LocalRedis:
            before = made.primary()
            made.fail_over()
            # Sentinel tells it only after a while: told by hand, it keeps its connections.
            with asked(before) as client:
                client.replicaof(LOOPBACK, "1")
            return made.primary()

        yield made.way, move


@contextmanager
def clustered(folder: Path) -> Iterator[tuple[str, Callable[[], LocalRedis]]]:
    """The same in a cluster, where the slot moves."""
    with gathered(Cluster, folder, PATIENCE_MS) as made:
        assert isinstance(made, Cluster)
        slot = key_slot(ORDERS.encode())

        def move() -> LocalRedis:
            there = next(each for each in made.servers[:3] if each is not made.primary(slot))
            made.move(slot, there)
            return there

        yield made.way, move


@pytest.fixture(params=[named, watched, clustered])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Callable[[], LocalRedis]]]:
    """A URL, and what has another server take its place."""
    with request.param(tmp_path / "redis") as given:
        yield given


def added_to(server: LocalRedis) -> list[str]:
    with asked(server) as client:
        return [fields["order_id"] for _, fields in client.xrange(ORDERS)]


def order(order_id: str) -> Order:
    return Order("X", "BUY", 1, order_id=order_id)


def test_order_is_added_where_the_primary_is_now(place: tuple[str, Callable[[], LocalRedis]]) -> None:
    """Proves that connections to a server that has become another's replica, or left the slot, are left."""
    url, move = place
    with connect(url, stream=ORDERS) as client:
        producer = Producer(client, ORDERS, attempts=ATTEMPTS)
        producer.add(order("before"))
        results = Results(client, ORDERS)
        assert list(results.read("g", "c", wait_s=0, unreadable=lambda _: None)) == []

        now = move()

        producer.add(order("after"))
        assert list(results.read("g", "c", wait_s=0, unreadable=lambda _: None)) == []
    with asked(now) as other:
        assert other.xpending(ORDERS, "g")["pending"] == 0
    assert added_to(now) == ["before", "after"]


def test_order_is_added_where_the_primary_is_now_with_asyncio(
    place: tuple[str, Callable[[], LocalRedis]],
) -> None:
    url, move = place

    async def add() -> LocalRedis:
        async with connect_async(url, stream=ORDERS) as client:
            producer = AsyncProducer(client, ORDERS, attempts=ATTEMPTS)
            await asyncio.gather(*(producer.add(order(f"before-{n}")) for n in range(3)))
            now = await asyncio.to_thread(move)
            # By the connections of then.
            await asyncio.gather(*(producer.add(order(f"after-{n}")) for n in range(3)))
            return now

    now = asyncio.run(add())

    assert sorted(added_to(now)) == [f"{when}-{n}" for when in ("after", "before") for n in range(3)]
