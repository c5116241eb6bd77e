"""A result read as the services behind the worker read it: every text back into its value."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from worker.domain.orders import OrderRecord

AMOUNTS = ("filled_quantity", "quantity", "price")
TEXTS = (
    "order_id",
    "entry_id",
    "status",
    "symbol",
    "side",
    "trade_id",
    "strategy_id",
    "bot_id",
    "client_id",
    "error_message",
    "traceparent",
)


def read_result(fields: Sequence[bytes]) -> dict[str, object]:
    """Return a result's values by name. Fails on a repeated or unknown name, and an oddly spelled amount."""
    names, texts = ([part.decode() for part in fields[start::2]] for start in (0, 1))
    assert len(set(names)) == len(names)
    said = dict(zip(names, texts, strict=True))
    assert said.pop("type") == "order_result"
    assert set(said) <= {*AMOUNTS, *TEXTS, "timestamp"}
    read: dict[str, object] = {name: said[name] for name in TEXTS if name in said}
    for name in AMOUNTS:
        if name in said:
            read[name] = value = _plain_amount(said[name])
            assert value >= 0
    return read | {"timestamp": datetime.fromtimestamp(int(said["timestamp"]), UTC)}


def _plain_amount(text: str) -> Decimal:
    assert set(text) <= set("0123456789.")
    assert text == "0" or not text.startswith("0") or text.startswith("0.")
    assert "." not in text or not text.endswith(("0", "."))
    return Decimal(text)


def said_by(row: OrderRecord) -> dict[str, object]:
    """Return what the result of a row has to say, with nothing in it of what the row does not know."""
    says: dict[str, object | None] = {
        "order_id": row.order_id,
        "entry_id": row.entry_id,
        "status": str(row.status),
        "filled_quantity": row.filled_quantity,
        "timestamp": row.executed_at.astimezone(UTC).replace(microsecond=0),
        "symbol": row.symbol,
        "side": row.side and str(row.side),
        "quantity": row.quantity,
        "price": row.average_price,
        "trade_id": min((trade.trade_id for trade in row.trades), default=None),
        "strategy_id": row.labels.strategy_id,
        "bot_id": row.labels.bot_id,
        "client_id": row.labels.client_id,
        "error_message": row.error_message,
        "traceparent": row.traceparent,
    }
    return {name: value for name, value in says.items() if value is not None}
