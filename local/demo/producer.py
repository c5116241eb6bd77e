"""Somebody who sends orders, steadily, and remembers each that the stream took."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from redis import Redis, RedisError

from local.demo.promises import BrokenPromiseError

ORDERS = "orders"
EVERY_S = 0.1
SYMBOLS = {
    "BTCUSDT": "0.0125",
    "ETHUSDT": "0.3228",
    "SOLUSDT": "1.3327",
    "XRPUSDT": "240.5",
    "DOGEUSDT": "1900",
    "PEPEUSDT": "17352894",
}


@dataclass(frozen=True, slots=True)
class Sent:
    """An order that the stream has taken."""

    entry_id: str
    fields: dict[str, str]

    @property
    def order_id(self) -> str:
        """The id that the producer gave it."""
        return self.fields["order_id"]


class Producer:
    """Adds orders to the stream; the thread that does so steadily ends with the block of `flowing`."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._numbers = itertools.count(1)
        self._ended = threading.Event()
        self._error: RedisError | None = None
        self.sent: list[Sent] = []

    def send(self, **changes: str) -> Sent:
        """Add a new order."""
        return self.repeat(self._new_order(), **changes)

    def rush(self, count: int) -> list[Sent]:
        """Add many orders at one instant."""
        orders = [self._new_order() for _ in range(count)]
        with self._redis.pipeline() as together:
            for fields in orders:
                together.xadd(ORDERS, fields)
            entry_ids = together.execute()
        rush = [Sent(entry_id, fields) for entry_id, fields in zip(entry_ids, orders, strict=True)]
        self.sent += rush
        return rush

    def repeat(self, fields: dict[str, str], **changes: str) -> Sent:
        """Add an order that may have been added before, as it was or with changes."""
        added = {**fields, **changes}
        entry_id = self._redis.xadd(ORDERS, added)
        sent = Sent(str(entry_id), added)
        self.sent.append(sent)
        return sent

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Add ten orders a second while the block lasts."""
        thread = threading.Thread(target=self._flow, name="producer", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
        if self._error is not None:
            raise BrokenPromiseError(f"The producer could not send: {self._error}")

    def _flow(self) -> None:
        while not self._ended.wait(EVERY_S):
            try:
                self.send()
            except RedisError as error:
                self._error = error
                return

    def _new_order(self) -> dict[str, str]:
        number = next(self._numbers)
        symbol = list(SYMBOLS)[number % len(SYMBOLS)]
        return {
            "type": "order",
            "order_id": f"demo-{number:04}",
            "symbol": symbol,
            "side": "BUY" if number % 2 else "SELL",
            "quantity": SYMBOLS[symbol],
            "timestamp": str(int(time.time())),
            "client_id": f"demo-{number}",
        }
