"""Adds orders to the worker's stream."""

from typing import Unpack

import redis
import redis.asyncio

from worker.client.adding import Adding, How
from worker.client.link import AsyncLink, Link, run, run_async
from worker.client.order import Added, Order
from worker.client.sending import async_link_to, link_to


class Producer:
    """Adds orders by the connections of a Redis client, which stays yours. Threads may share it.

    So many `attempts` are made where Redis does not answer, each with those that the client makes by itself:
    one that `connect` has made makes none.
    With `replicas=N` N replicas must have taken the order; with `fsynced=True` its primary, and the N
    replicas, must have it on disk. With `most_waiting=N` no order is added while so many wait for the
    worker's `group`: it is waited for room for `wait_s`. A fleet whose WORKER_ORDER_ID_FIELD is set takes the
    order id from that field: `order_id_field` is its name.
    """

    def __init__(self, client: redis.Redis | Link, stream: str = "orders", **how: Unpack[How]) -> None:
        self._link = link_to(client, stream)
        self._adding = Adding(stream, **how)
        self._adding.refuse_waits_beyond(self._link.patience_s)

    def add(self, order: Order) -> Added:
        """Add an order, and return where.

        Raises Backlogged, Unanswered, Unconfirmed or Unsupported: each says whether it may be executed.
        Whatever ends a call, adding the same `order` again is safe: it is executed once.
        """
        return run(self._adding.steps(order), self._link)


class AsyncProducer:
    """The same with asyncio."""

    def __init__(
        self, client: redis.asyncio.Redis | AsyncLink, stream: str = "orders", **how: Unpack[How]
    ) -> None:
        self._link = async_link_to(client, stream)
        self._adding = Adding(stream, **how)
        self._adding.refuse_waits_beyond(self._link.patience_s)

    async def add(self, order: Order) -> Added:
        """Add an order as `Producer.add` does."""
        return await run_async(self._adding.steps(order), self._link)
