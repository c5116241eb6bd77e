"""What is sent to a venue and read from its answers: exact amounts as text, nothing guessed."""

from collections.abc import Sequence
from decimal import Decimal
from functools import reduce

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from worker.domain.decimals import EXACT, FINEST, NotExact, canonical, plain
from worker.domain.executions import fault_of
from worker.domain.orders import ZERO, Execution, Order, Status, Trade, quantity_of

_FINAL = {status.value: status for status in (Status.FILLED, Status.REJECTED, Status.ERROR)}


class MalformedAnswer(Exception):
    """The venue answered with something that can't be taken for an outcome; says what was wrong."""


class _Sent(Struct, omit_defaults=True):
    order_id: str
    symbol: str
    side: str
    quantity: str
    price: str | None = None
    stop_loss_pct: str | None = None
    client_id: str | None = None


class _Fill(Struct):
    trade_id: str
    quantity: str
    price: str
    commission: str = "0"


class _Outcome(Struct):
    order_id: str
    status: str
    filled_quantity: str = "0"
    trades: list[_Fill] = []
    reason: str | None = None


class _Refusal(Struct):
    reason: str


def order_text(order: Order) -> bytes:
    """Return an order as the venue takes it: a JSON object, amounts as text."""
    return msgspec.json.encode(
        _Sent(
            order.order_id,
            order.symbol,
            order.side.value,
            plain(order.quantity),
            None if order.price is None else plain(order.price),
            None if order.stop_loss_pct is None else plain(order.stop_loss_pct),
            order.labels.client_id,
        )
    )


def read_execution(body: bytes, order_id: str) -> Execution:
    """Return the final outcome in an answer. Raises MalformedAnswer, also where the order is not done yet."""
    try:
        said = msgspec.json.decode(body, type=_Outcome)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedAnswer(f"of order {order_id}: {error}") from error
    if said.order_id != order_id:
        raise MalformedAnswer(f"asked for order {order_id}, was told of {said.order_id[:128]!r}")
    status = _FINAL.get(said.status)
    if status is None:
        raise MalformedAnswer(f"order {order_id} stands as {said.status[:32]!r}, which is not final")
    trades = tuple(_trade(order_id, fill) for fill in said.trades)
    filled = _amount(order_id, "filled_quantity", said.filled_quantity)
    made = Execution(status, filled, None, trades, said.reason)
    fault = fault_of(made, None)
    if fault is not None:
        raise MalformedAnswer(f"of order {order_id}: {fault}")
    return replace(made, average_price=_average(trades))


def read_reason(body: bytes, status: int) -> str:
    """Return why an order was refused.

    Raises MalformedAnswer where no reason is given: then the answer may be no refusal.
    """
    try:
        return msgspec.json.decode(body, type=_Refusal).reason
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedAnswer(f"answered {status} without a reason: {error}") from error


def _trade(order_id: str, fill: _Fill) -> Trade:
    return Trade(
        fill.trade_id,
        _amount(order_id, "quantity of a trade", fill.quantity),
        _amount(order_id, "price of a trade", fill.price),
        _amount(order_id, "commission", fill.commission),
    )


def _amount(order_id: str, name: str, text: str) -> Decimal:
    try:
        return Decimal(canonical(text))
    except NotExact as error:
        raise MalformedAnswer(f"{name} of order {order_id} {error}: {text[:64]!r}") from error


def _average(trades: Sequence[Trade]) -> Decimal | None:
    if not trades:
        return None
    if len({trade.price for trade in trades}) == 1:
        return trades[0].price
    paid = reduce(EXACT.add, (EXACT.multiply(trade.quantity, trade.price) for trade in trades), ZERO)
    # A mean may have no end: it is rounded where the exact amounts end.
    return EXACT.quantize(EXACT.divide(paid, quantity_of(trades)), FINEST)
