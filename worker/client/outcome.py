"""What became of an order, as the streams tell it."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from worker.client.link import Reply
from worker.client.order import Side

# What reading an entry raises that is no result.
NO_RESULT = (ValueError, KeyError, ArithmeticError)


class Status(StrEnum):
    """What became of an order."""

    FILLED = "FILLED"
    REJECTED = "REJECTED"
    ERROR = "ERROR"


@dataclass(frozen=True, kw_only=True)
class OrderResult:
    """The result of an order. Amounts are exact, the timestamp is unix time in seconds, None is not known.

    FILLED with less than the quantity is final, too. `price` is the average of what was filled. `entry_id` is
    the entry that was executed: of several with one order id the first. `traceparent` is that of this entry:
    with it a reader goes on with the trace of whoever added the order.
    """

    order_id: str
    entry_id: str
    status: Status
    filled_quantity: Decimal
    timestamp: int
    symbol: str | None = None
    side: Side | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    trade_id: str | None = None
    strategy_id: str | None = None
    bot_id: str | None = None
    client_id: str | None = None
    error_message: str | None = None
    traceparent: str | None = None


class Letter(NamedTuple):
    """What a dead letter says of the entry that it buries; the order id is empty where it is not known."""

    entry_id: str
    order_id: str
    reason: str
    error: str


Outcome: TypeAlias = OrderResult | Letter


def result_or_none(fields: list[Reply]) -> OrderResult | None:
    """Return the result that an entry is, None where it is none."""
    try:
        return read_result(fields)
    except NO_RESULT:
        return None


def read_result(fields: list[Reply]) -> OrderResult:
    """Return the result that an entry is. Raises one of NO_RESULT where it is none."""
    said = read_fields(fields)
    if said["type"] != "order_result":
        raise ValueError(f"type is {said['type']!r}")
    quantity, price, side = (said.get(name) for name in ("quantity", "price", "side"))
    texts = ("symbol", "trade_id", "strategy_id", "bot_id", "client_id", "error_message", "traceparent")
    return OrderResult(
        order_id=said["order_id"],
        entry_id=said["entry_id"],
        status=Status(said["status"]),
        filled_quantity=_exact(said["filled_quantity"]),
        timestamp=int(said["timestamp"]),
        quantity=None if quantity is None else _exact(quantity),
        price=None if price is None else _exact(price),
        side=None if side is None else Side(side),
        **{name: said[name] for name in texts if name in said},
    )


def read_letter(fields: list[Reply]) -> Letter:
    """Return what a dead letter says."""
    said = read_fields(fields)
    return Letter(
        said.get("entry_id", ""), said.get("order_id", ""), said.get("reason", ""), said.get("error", "")
    )


def _exact(text: str) -> Decimal:
    amount = Decimal(text)
    if not amount.is_finite():
        raise ValueError(f"not a finite number: {text}")
    return amount


def read_fields(fields: list[Reply]) -> dict[str, str]:
    """Return the fields of an entry as text, whatever bytes they hold."""
    texts = [part.decode("utf-8", "backslashreplace") for part in fields]
    return dict(zip(texts[::2], texts[1::2], strict=True))
