"""An order as a program writes it, and the flat entry that it becomes."""

import re
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from worker.client.ids import new_order_id

# The worker's rule for an order id: with any other, an entry would be a dead letter.
ORDER_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}", re.ASCII)
# The one version there is: trace and span of 32 and 16 hexadecimal digits, not all of them zero.
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
AMOUNTS = ("quantity", "price", "stop_loss_pct")
# How long before its entry a result is looked for: the clock of Redis may have been set back a little.
MARGIN_MS = 5_000


class Side(StrEnum):
    """Which way an order trades."""

    BUY = "BUY"
    SELL = "SELL"


@dataclass(frozen=True)
class Order:
    """An order. Amounts are exact: Decimal, int or text; a float raises TypeError, other text ValueError.

    Its order id is minted when it is made, unless you give one: whatever becomes of an attempt to add it, the
    same object is the same order, and is executed once however often it is added. Another order is made anew.
    Whether the order makes sense is for the worker to say: what breaks a rule of it has a result REJECTED.
    Its result carries `traceparent` on, which is no part of it: sent again with another it is the same order.
    Where it is None, and OpenTelemetry has a span in the program that adds the order, it is of that span.
    """

    symbol: str
    side: Side | str
    quantity: Decimal | int | str
    price: Decimal | int | str | None = None
    stop_loss_pct: Decimal | int | str | None = None
    order_id: str = field(default_factory=new_order_id)
    signal_id: str | int | None = None
    reason: str | int | None = None
    timestamp: str | int | None = None
    strategy_id: str | int | None = None
    bot_id: str | int | None = None
    client_id: str | int | None = None
    traceparent: str | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be sent, or would not arrive as it is."""
        if not isinstance(self.order_id, str):
            raise TypeError(f"order_id is no text: {self.order_id!r}; leave it out to have one minted")
        if not ORDER_ID.fullmatch(self.order_id):
            raise ValueError(
                f"order_id is not 1 to 128 characters of A-Z a-z 0-9 . _ : / -: {self.order_id!r}"
            )
        if self.traceparent is not None and not _is_traceparent(self.traceparent):
            raise ValueError(f"traceparent is none of W3C's Trace Context: {self.traceparent!r}")
        self.entry()

    def entry(self, order_id_field: str = "order_id") -> dict[str, str]:
        """Return the fields of the entry; what is None is left out.

        Raises ValueError where another field is to name the order, and says something else.
        """
        named = ((each.name, getattr(self, each.name)) for each in fields(self))
        entry = {name: _text(name, value) for name, value in named if value is not None}
        order_id = entry.pop("order_id")
        if entry.setdefault(order_id_field, order_id) != order_id:
            said = entry[order_id_field]
            raise ValueError(
                f"{order_id_field} names the order, and is {said!r} where order_id is {order_id!r}"
            )
        return entry


@dataclass(frozen=True)
class Added:
    """Where an order was added, and since when its result may stand on the results stream.

    That is a little before its entry, where nothing else is said. An order that was added in several
    attempts may have its result from an earlier one; its producer says so in `since`.
    """

    entry_id: str
    order_id: str
    since: str = ""

    def __post_init__(self) -> None:
        """Begin to look a little before the entry, where nothing else is said."""
        if not self.since:
            object.__setattr__(self, "since", before(milliseconds(self.entry_id)))


def _is_traceparent(text: object) -> bool:
    return isinstance(text, str) and _TRACEPARENT.fullmatch(text) is not None


def milliseconds(entry_id: str) -> int:
    """Return the time in an entry id."""
    return int(entry_id.partition("-")[0])


def before(at_ms: int) -> str:
    """Return the id from which to look for what cannot have happened before this time."""
    return f"{max(0, at_ms - MARGIN_MS)}-0"


def _text(name: str, value: object) -> str:
    if name in AMOUNTS:
        return _exact(name, value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"{name} is neither text nor a whole number: {value!r}")
    text = str(value)
    text.encode()  # Half a surrogate pair raises UnicodeEncodeError, a ValueError.
    if "\0" in text:
        raise ValueError(f"{name} holds a NUL")
    return text


def _exact(name: str, value: object) -> str:
    if isinstance(value, float):
        raise TypeError(
            f"{name} is a float, which is not exact: give a Decimal, an int or text, not {value!r}"
        )
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise TypeError(f"{name} is neither Decimal, int nor text: {value!r}")
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{name} is not a number: {value!r}") from None
    if not amount.is_finite():
        raise ValueError(f"{name} is not a finite number: {value!r}")
    return str(amount)
