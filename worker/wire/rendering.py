"""From rows to results, from what can't be executed to dead letters, from submitted orders to entries."""

import json
from collections.abc import Sequence
from hashlib import sha256

from worker.domain.decimals import plain
from worker.domain.deliveries import Delivery, entry_milliseconds
from worker.domain.orders import OrderRecord

ERROR_TEXT_LIMIT = 1000
HEAD_LIMIT = 1024


def result_fields(record: OrderRecord) -> list[str]:
    """Return the results entry of a row, names and values in turn; of the row alone, so it is always the same."""
    fields = [
        "type", "order_result",
        "order_id", record.order_id,
        "entry_id", record.entry_id,
        "status", record.status.value,
        "filled_quantity", plain(record.filled_quantity),
        "timestamp", str(int(record.executed_at.timestamp())),
    ]  # fmt: skip
    labels = record.labels
    optional = (
        ("symbol", record.symbol),
        ("side", None if record.side is None else record.side.value),
        ("quantity", None if record.quantity is None else plain(record.quantity)),
        ("price", None if record.average_price is None else plain(record.average_price)),
        ("trade_id", record.trades[0].trade_id if record.trades else None),
        ("strategy_id", labels.strategy_id),
        ("bot_id", labels.bot_id),
        ("client_id", labels.client_id),
        ("error_message", record.error_message),
    )
    for name, value in optional:
        if value is not None:
            fields += (name, value)
    return fields


def result_copy(fields: Sequence[str]) -> str:
    """Return the same result as JSON, for readers that still listen to a Pub/Sub channel."""
    return json.dumps(dict(zip(fields[::2], fields[1::2], strict=True)), ensure_ascii=False)


class DeadLetterWriter:
    """Writes dead letters: metadata first, then every original field byte for byte."""

    def __init__(self, *, consumer: str, version: str) -> None:
        self._consumer = consumer
        self._version = version

    def fields(
        self, delivery: Delivery, *, reason: str, error: str, order_id: str | None, seen: float
    ) -> list[str | bytes]:
        """Return the letter of a delivery; `seen` is now, in unix seconds.

        A field keeps its place, its repeats and its bytes behind the prefix `orig:`. Of an entry that is
        too large only the size, the SHA-256 of all names and values, and the first KiB are kept.
        """
        letter: list[str | bytes] = ["entry_id", delivery.entry_id, "reason", reason]
        if order_id is not None:
            letter += ("order_id", order_id)
        letter += (
            "error", error[:ERROR_TEXT_LIMIT],
            "deliveries", str(delivery.count),
            "first_seen", str(entry_milliseconds(delivery.entry_id) // 1000),
            "last_seen", str(int(seen)),
            "consumer", self._consumer,
            "worker_version", self._version,
        )  # fmt: skip
        if reason == "too_large":
            content = b"".join(delivery.fields)
            digest = sha256(content).hexdigest()
            return [*letter, "size", str(len(content)), "sha256", digest, "head", content[:HEAD_LIMIT]]
        for name, value in zip(delivery.fields[::2], delivery.fields[1::2], strict=True):
            letter += (b"orig:" + name, value)
        return letter


def order_fields(order: object) -> dict[str, str]:
    """Return the flat fields of a submitted JSON value; null means absent, numbers keep their digits.

    Raises ValueError where it is no object, or holds what no flat field can carry, or nothing at all.
    """
    fields: dict[str, str] = {}
    if not isinstance(order, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  bad input, not a bug
    for name, value in order.items():
        if value is None:
            continue
        if not isinstance(value, str):
            raise ValueError(f"{name} is neither text nor a number")  # noqa: TRY004  bad input, not a bug
        fields[name] = value
    if not fields:
        raise ValueError("an order without fields")
    return fields
