"""Lets other programs join in: adds orders and reads their results, with or without asyncio.

It imports redis-py alone, and no room but the ways to Redis.
"""

from worker.client.connecting import connect, connect_async
from worker.client.errors import (
    Backlogged,
    Buried,
    ClientError,
    Unanswered,
    Unconfirmed,
    Unreadable,
    Unsupported,
)
from worker.client.ids import new_order_id
from worker.client.order import Added, Order, Side
from worker.client.outcome import OrderResult, Status
from worker.client.producer import AsyncProducer, Producer
from worker.client.results import AsyncResults, Results

__all__ = [
    "Added",
    "AsyncProducer",
    "AsyncResults",
    "Backlogged",
    "Buried",
    "ClientError",
    "Order",
    "OrderResult",
    "Producer",
    "Results",
    "Side",
    "Status",
    "Unanswered",
    "Unconfirmed",
    "Unreadable",
    "Unsupported",
    "connect",
    "connect_async",
    "new_order_id",
]
