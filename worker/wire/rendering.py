"""From rows to results, from what can't be executed to dead letters, from submitted orders to entries."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import sha256

from worker.domain.decimals import plain
from worker.domain.deliveries import HEAD_BYTES, Delivery, Settlement, entry_milliseconds, size_of
from worker.domain.orders import DeadReason, OrderRecord, storable
from worker.domain.trace_context import TRACEPARENT
from worker.wire.fields import NO_TEXT, Fraction, Whole
from worker.wire.names import derived_order_id
from worker.wire.payloads import parsed


def result_fields(record: OrderRecord) -> list[str]:
    """Return the results entry of a row, names and values in turn: of the row alone, so always the same."""
    fields = [
        "type", "order_result",
        "order_id", record.order_id,
        "entry_id", record.entry_id,
        "status", record.status,
        "filled_quantity", plain(record.filled_quantity),
        "timestamp", _seconds(record.executed_at, record.executed_at.fold),
    ]  # fmt: skip
    labels = record.labels
    for name, value in (
        ("symbol", record.symbol),
        ("side", record.side),
        ("quantity", None if record.quantity is None else plain(record.quantity)),
        ("price", None if record.average_price is None else plain(record.average_price)),
        ("trade_id", record.trades[0].trade_id if record.trades else None),
        ("strategy_id", labels.strategy_id),
        ("bot_id", labels.bot_id),
        ("client_id", labels.client_id),
        ("error_message", record.error_message),
        (TRACEPARENT, record.traceparent),
    ):
        if value is not None:
            fields += (name, value)
    return fields


# Orders that were executed together have the same time. The two sides of a change of the clocks are told
# apart by `fold` alone.
@lru_cache(maxsize=1)
def _seconds(at: datetime, fold: int) -> str:  # noqa: ARG001  part of the key
    return str(int(at.timestamp()))


def result_copy(fields: Sequence[str]) -> str:
    """Return the same result as JSON, for readers that still listen to a Pub/Sub channel."""
    return json.dumps(dict(zip(fields[::2], fields[1::2], strict=True)), ensure_ascii=False)


class Renderer:
    """Writes what goes out: results, with a JSON copy where somebody listens, and dead letters."""

    def __init__(
        self,
        *,
        source: str,
        consumer: str,
        version: str,
        copies: bool,
        max_bytes: int,
        max_fields: int,
        clock: Callable[[], float],
    ) -> None:
        self._max_bytes = max_bytes
        self._max_fields = max_fields
        self._source = source
        self._consumer = consumer
        self._version = version
        self._copies = copies
        self._clock = clock

    def derived_order_id(self, entry_id: str) -> str:
        """Return the identity of an order whose entry names none."""
        return derived_order_id(self._source, entry_id)

    def result(self, delivery: Delivery, record: OrderRecord) -> Settlement:
        """Return the settlement that publishes the result of a row."""
        fields = result_fields(record)
        return Settlement(delivery.entry_id, "publish", fields, result_copy(fields) if self._copies else "")

    def letter(
        self,
        delivery: Delivery,
        *,
        reason: DeadReason | str,
        error: str,
        order_id: str | None,
        mark: str = "",
    ) -> Settlement:
        """Return the settlement that buries a delivery: metadata first, then the original fields.

        A field keeps its place, its repeats and its bytes behind the prefix `orig:`. Of an entry that is too
        large, whyever it is buried, only the size, the SHA-256 of all names and values, and the first KiB are
        kept; of one that was too large to be fetched there is no SHA-256.
        """
        letter: list[str | bytes] = ["entry_id", delivery.entry_id, "reason", reason]
        if order_id is not None:
            letter += ("order_id", order_id)
        letter += (
            "error", storable(error),
            "deliveries", str(delivery.count),
            "first_seen", str(entry_milliseconds(delivery.entry_id) // 1000),
            "last_seen", str(int(self._clock())),
            "consumer", self._consumer,
            "worker_version", self._version,
            "source", self._source,
        )  # fmt: skip
        if mark:
            letter += ("mark", mark)
        too_large = size_of(delivery.fields) > self._max_bytes or len(delivery.fields) > 2 * self._max_fields
        if delivery.withheld is not None:
            letter += ("size", str(delivery.withheld.size), "head", delivery.withheld.head)
        else:
            letter += _traits(delivery) if too_large else _originals(delivery)
        return Settlement(delivery.entry_id, "bury", letter, mark=mark)


def _traits(delivery: Delivery) -> list[str | bytes]:
    content = b"".join(delivery.fields)
    digest = sha256(content).hexdigest()
    return ["size", str(len(content)), "sha256", digest, "head", content[:HEAD_BYTES]]


def _originals(delivery: Delivery) -> list[str | bytes]:
    pairs = zip(delivery.fields[::2], delivery.fields[1::2], strict=True)
    return [part for name, value in pairs for part in (b"orig:" + name, value)]


def order_fields(line: bytes) -> dict[str, str]:
    """Return the flat fields of a submitted line of JSON; null means absent, numbers keep their digits.

    Raises ValueError where it is no object, says a key twice, holds what no flat field can carry, or nothing
    at all; RecursionError where it is nested too deeply.
    """
    order = parsed(line, fraction=Fraction, whole=Whole)
    fields: dict[str, str] = {}
    if not isinstance(order, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  bad input, not a bug
    for name, value in order.items():
        if value is None:
            continue
        if not isinstance(value, str):
            raise ValueError(f"{name} is neither text nor a number")  # noqa: TRY004  bad input, not a bug
        if name in {"symbol", "side"} and isinstance(value, NO_TEXT):
            raise ValueError(f"{name} is not text: JSON has it in quotes")
        fields[name] = str(value)
    if not fields:
        raise ValueError("an order without fields")
    return fields
