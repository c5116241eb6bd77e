"""A worker in memory, for tests of programs that use the client: no server, no wait.

With `pytest_plugins = ["worker.client.testing"]` a test takes the fixture `fake_worker`.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from decimal import Decimal
from typing import Unpack

from worker.client.adding import How
from worker.client.fake_streams import AsyncFakeStreams, FakeStreams
from worker.client.order import Order, Side
from worker.client.outcome import Status
from worker.client.producer import AsyncProducer, Producer
from worker.client.results import AsyncResults, Results

ORDERS, RESULTS, DEAD_LETTERS, GROUP = "orders", "order_results", "orders:dead", "execution"
# With these a second order of the same id is a duplicate or a conflict.
_TELLING = ("strategy_id", "bot_id", "client_id")
_HUNDRED_PERCENT = 100


@dataclass(frozen=True)
class Answer:
    """What becomes of an order: a result, FILLED as ordered unless it says otherwise, or a dead letter."""

    status: Status = Status.FILLED
    price: Decimal | None = None
    filled_quantity: Decimal | None = None
    error_message: str | None = None
    buried_as: str | None = None


def filled(_: Order) -> Answer:
    """Answer an order: FILLED as ordered."""
    return Answer()


class FakeWorker:
    """Executes what is added, at once, as `answer` says; what that answers by None waits for `settle`.

    Duplicates, conflicts and orders that break a rule become of it what the worker makes of them.
    """

    def __init__(
        self, answer: Callable[[Order], Answer | None] = filled, *, order_id_field: str = "order_id"
    ) -> None:
        self.answer = answer
        self._order_id_field = order_id_field
        self.orders: list[Order] = []
        self.streams = FakeStreams()
        self._entries: dict[str, str] = {}
        self._known: dict[str, Order] = {}
        self._results: dict[str, dict[str, str]] = {}
        self._call("XGROUP", "CREATE", ORDERS, GROUP, "0", "MKSTREAM")
        self.streams.added = self._take

    def producer(self, **how: Unpack[How]) -> Producer:
        """Return a producer that adds orders here."""
        how.setdefault("order_id_field", self._order_id_field)
        return Producer(self.streams, **how)

    def results(self) -> Results:
        """Return what reads the results of here."""
        return Results(self.streams)

    def async_producer(self, **how: Unpack[How]) -> AsyncProducer:
        """Return the same with asyncio."""
        how.setdefault("order_id_field", self._order_id_field)
        return AsyncProducer(AsyncFakeStreams(self.streams), **how)

    def async_results(self) -> AsyncResults:
        """Return the same with asyncio."""
        return AsyncResults(AsyncFakeStreams(self.streams))

    def settle(self, order_id: str, answer: Answer) -> None:
        """Answer an order that waits."""
        entry_id, order = self._entries.pop(order_id), self._known[order_id]
        if answer.buried_as:
            self._bury(entry_id, order_id, answer.buried_as, answer.error_message or "")
        else:
            self._results[order_id] = _result(entry_id, order, answer)
            self.publish_again(order_id)
            self._call("XACK", ORDERS, GROUP, entry_id)

    def publish_again(self, order_id: str) -> None:
        """Publish a result once more, as a repair of lost results may do."""
        fields = (part for pair in self._results[order_id].items() for part in pair)
        self._call("XADD", RESULTS, "*", *fields)

    def _take(self, stream: str, entry_id: str, fields: list[bytes]) -> None:
        if stream != ORDERS:
            return
        self._call("XREADGROUP", "GROUP", GROUP, "fake", "COUNT", 1, "STREAMS", ORDERS, ">")
        texts = [part.decode() for part in fields]
        said = dict(zip(texts[::2], texts[1::2], strict=True))
        said["order_id"] = said[self._order_id_field]
        order = Order(**{each.name: said[each.name] for each in dataclass_fields(Order) if each.name in said})
        order_id = order.order_id
        self.orders.append(order)
        known = self._known.setdefault(order_id, order)
        if known is not order:
            if _content(known) == _content(order):
                self._call("XACK", ORDERS, GROUP, entry_id)
            else:
                self._bury(entry_id, order_id, "conflict", "the order id stands with other content")
            return
        self._entries[order_id] = entry_id
        fault = _fault(order)
        answer = Answer(Status.REJECTED, error_message=fault) if fault else self.answer(order)
        if answer is not None:
            self.settle(order_id, answer)

    def _bury(self, entry_id: str, order_id: str, reason: str, error: str) -> None:
        letter = ("entry_id", entry_id, "reason", reason, "order_id", order_id, "error", error)
        self._call("XADD", DEAD_LETTERS, "*", *letter)
        self._call("XACK", ORDERS, GROUP, entry_id)

    def _call(self, *command: str | int) -> None:
        self.streams.call([command])


def _content(order: Order) -> tuple[object, ...]:
    amounts = (order.quantity, order.price, order.stop_loss_pct)
    exact = (None if amount is None else Decimal(amount) for amount in amounts)
    return (order.symbol, order.side.upper(), *exact, *(getattr(order, name) for name in _TELLING))


def _fault(order: Order) -> str | None:
    if order.side.upper() not in set(Side):
        return "side is neither BUY nor SELL"
    if Decimal(order.quantity) <= 0 or (order.price is not None and Decimal(order.price) <= 0):
        return "an amount is not greater than zero"
    if order.stop_loss_pct is not None and not 0 <= Decimal(order.stop_loss_pct) <= _HUNDRED_PERCENT:
        return "stop_loss_pct is not 0 to 100"
    return None


def _result(entry_id: str, order: Order, answer: Answer) -> dict[str, str]:
    is_filled = answer.status is Status.FILLED
    quantity = Decimal(order.quantity)
    asked = quantity if answer.filled_quantity is None else answer.filled_quantity
    done = asked if is_filled else Decimal(0)
    price = Decimal(order.price or 100) if answer.price is None else answer.price
    if is_filled and not (0 < done <= quantity and price > 0):
        raise ValueError(f"no worker says FILLED of {done} of {quantity} at {price}")
    fields = {
        "type": "order_result",
        "order_id": order.order_id,
        "entry_id": entry_id,
        "status": answer.status,
        "filled_quantity": f"{done:f}",
        "timestamp": str(int(time.time())),
        "symbol": order.symbol,
        "side": order.side.upper() if order.side.upper() in set(Side) else None,
        "quantity": f"{quantity:f}" if quantity > 0 else None,
        "price": f"{price:f}" if is_filled else None,
        "trade_id": f"{order.order_id}-1" if is_filled else None,
        **{name: getattr(order, name) for name in _TELLING},
        "error_message": answer.error_message,
        "traceparent": order.traceparent,
    }
    return {name: str(value) for name, value in fields.items() if value is not None}


# Only pytest looks for fixtures here, and then it is loaded.
if "pytest" in sys.modules:
    import pytest

    @pytest.fixture
    def fake_worker() -> FakeWorker:
        """Return a worker in memory that fills what is added."""
        return FakeWorker()
