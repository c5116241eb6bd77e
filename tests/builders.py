"""Small builders with sensible defaults: a test names only what it is about."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal

import structlog
from msgspec.structs import replace

from worker import wire
from worker.domain.decimals import STORED, Digits
from worker.domain.deliveries import Delivery
from worker.domain.orders import (
    NO_LABELS,
    Execution,
    Labels,
    Order,
    OrderRecord,
    Side,
    Status,
    Trade,
    record_execution,
)

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
FINGERPRINT = b"\x01" + bytes(32)


def flat(**values: str | bytes) -> tuple[bytes, ...]:
    """Return the raw fields of a sound order's entry, but for what is given; empty text leaves one out."""
    given: dict[str, str | bytes] = {
        "type": "order",
        "symbol": "BTCUSDT",
        "side": "BUY",
        "quantity": "0.5",
        "price": "100",
        **values,
    }
    return tuple(
        part.encode() if isinstance(part, str) else part
        for name, value in given.items()
        if value != ""
        for part in (name, value)
    )


def delivery(
    entry_id: str = "1-1",
    fields: tuple[bytes, ...] | None = None,
    *,
    count: int = 1,
    charged: bool = True,
) -> Delivery:
    """Return a first delivery, fresh from a read, of an entry with a sound order."""
    return Delivery(entry_id, flat(order_id="order-1") if fields is None else fields, count, charged)


def decoder(
    *,
    source: str = "orders",
    source_before: str = "orders",
    order_id_field: str = "order_id",
    max_bytes: int = 65_536,
    max_fields: int = 64,
    max_depth: int = 32,
    digits: Digits = STORED,
    warn: Callable[[Mapping[str, str]], None] = lambda _: None,
) -> wire.Decoder:
    """Return a decoder with the default limits."""
    return wire.Decoder(
        source=source,
        source_before=source_before,
        order_id_field=order_id_field,
        max_bytes=max_bytes,
        max_fields=max_fields,
        max_depth=max_depth,
        digits=digits,
        warn=warn,
    )


def order(
    order_id: str = "order-1",
    *,
    entry_id: str = "1-1",
    symbol: str = "BTCUSDT",
    side: Side = Side.BUY,
    quantity: Decimal = Decimal("0.5"),
    price: Decimal | None = Decimal(100),
    labels: Labels = NO_LABELS,
) -> Order:
    """Return a sound order."""
    return Order(
        order_id=order_id,
        entry_id=entry_id,
        fingerprint=FINGERPRINT,
        symbol=symbol,
        side=side,
        quantity=quantity,
        price=price,
        labels=labels,
    )


def trade(
    trade_id: str = "trade-1", *, quantity: Decimal = Decimal("0.5"), price: Decimal = Decimal(100)
) -> Trade:
    """Return one fill."""
    return Trade(trade_id, quantity, price, Decimal("0.05"))


def filled(made: Order) -> Execution:
    """Return the whole fill of an order in one trade."""
    price = made.price or Decimal(100)
    fill = trade(f"trade-{made.order_id}", quantity=made.quantity, price=price)
    return Execution(Status.FILLED, made.quantity, price, (fill,))


def record(order_id: str = "order-1", *, entry_id: str = "1-1", **changes: object) -> OrderRecord:
    """Return the row of a filled order with its trade."""
    made = order(order_id, entry_id=entry_id)
    return replace(record_execution(made, filled(made), AT), **changes)


def dead_record(
    order_id: str = "order-1", *, entry_id: str = "1-1", error: str = "failed: at last"
) -> OrderRecord:
    """Return the row of an order that was given up."""
    made = order(order_id, entry_id=entry_id)
    dead = record_execution(made, Execution(Status.DEAD, error_message=error), AT)
    return replace(dead, dead_reason=error.partition(": ")[0])


def pairs(fields: Sequence[str | bytes]) -> dict[str, str]:
    """Return alternating names and values as a dict of text."""
    texts = [part.decode(errors="replace") if isinstance(part, bytes) else part for part in fields]
    return dict(zip(texts[::2], texts[1::2], strict=True))


@contextmanager
def logging_restored() -> Iterator[None]:
    """Leave logging as it was before, whatever is configured within."""
    configure = structlog.configure
    # A logger that was used within would keep for ever what was configured, and no later test see what it
    # logs.
    structlog.configure = lambda **how: configure(**{**how, "cache_logger_on_first_use": False})
    root, ours = logging.getLogger(), logging.getLogger("worker")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    # A traceback that is drawn with the values of all variables takes a second or more.
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.stdlib.add_log_level, plain])
    try:
        yield
    finally:
        structlog.configure = configure
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.level, ours.level = levels
