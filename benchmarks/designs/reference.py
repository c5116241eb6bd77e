"""The reference: the work by hand, in batches, at full speed, with no guarantee but ON CONFLICT DO NOTHING.

Serial: read, decode, execute, one transaction, one pipeline of results and acks. An entry that can't be
understood is acked and forgotten; an order that comes again is answered again; what a dead process had in
hand stays there.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from typing import Any, Literal, TypeAlias

import msgspec
import psycopg
import redis

from benchmarks.designs import surroundings
from benchmarks.designs.paper import execute, result_fields
from worker.domain.orders import Execution, Side

ZERO = Decimal(0)

_INSERT_ORDERS = """
INSERT INTO orders (order_id, entry_id, fingerprint, status, executed_at,
    symbol, side, quantity, price, stop_loss_pct,
    signal_id, reason, "timestamp", strategy_id, bot_id, client_id,
    filled_quantity, average_price, error_message)
SELECT order_id, entry_id, ''::bytea, status, %s, symbol, side, quantity, price, stop_loss_pct,
    signal_id, reason, "timestamp", strategy_id, bot_id, client_id,
    filled_quantity, average_price, error_message
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
    %s::numeric[], %s::numeric[], %s::numeric[],
    %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
    %s::numeric[], %s::numeric[], %s::text[])
AS row (order_id, entry_id, status, symbol, side, quantity, price, stop_loss_pct,
    signal_id, reason, "timestamp", strategy_id, bot_id, client_id,
    filled_quantity, average_price, error_message)
ON CONFLICT DO NOTHING
"""
_INSERT_TRADES = """
INSERT INTO trades (order_id, trade_id, quantity, price, commission, executed_at)
SELECT order_id, trade_id, quantity, price, commission, %s
FROM unnest(%s::text[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[])
AS row (order_id, trade_id, quantity, price, commission)
ON CONFLICT DO NOTHING
"""

_encode = msgspec.json.Encoder(decimal_format="string").encode


class WireOrder(msgspec.Struct, frozen=True):
    """An order as it stands on the stream."""

    order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    type: Literal["order"] = "order"
    price: Decimal | None = None
    stop_loss_pct: Decimal | None = None
    signal_id: str | None = None
    reason: str | None = None
    timestamp: str | None = None
    strategy_id: str | None = None
    bot_id: str | None = None
    client_id: str | None = None


Done: TypeAlias = tuple[str, WireOrder, Execution]


def main() -> None:
    """Work until the process is ended."""
    client = redis.Redis.from_url(surroundings.redis_url(), protocol=3, decode_responses=True)
    # Raw replies: entries come as flat lists, and nothing is done with the ids of 500 results.
    client.response_callbacks.clear()
    with psycopg.connect(surroundings.database_url(), application_name="reference") as connection:
        while True:
            entries = _read(client)
            if entries:
                at = datetime.now(UTC)
                done = list(_executed(entries))
                _write(connection, done, at)
                _publish(client, [entry_id for entry_id, _ in entries], done, at)


def _read(client: Any) -> Sequence[tuple[str, Sequence[str]]]:  # noqa: ANN401  redis-py is half typed
    reply = client.execute_command(
        "XREADGROUP",
        "GROUP",
        surroundings.GROUP,
        surroundings.consumer(),
        "COUNT",
        surroundings.batch_size(),
        "BLOCK",
        2000,
        "STREAMS",
        surroundings.ORDERS,
        ">",
    )
    return reply[surroundings.ORDERS] if reply else []


def _executed(entries: Iterable[tuple[str, Sequence[str]]]) -> Iterable[Done]:
    for entry_id, raw in entries:
        fields = dict(zip(raw[::2], raw[1::2], strict=True))
        try:
            order = _valid(msgspec.convert(fields, WireOrder, strict=False))
        except msgspec.ValidationError:
            continue
        yield entry_id, order, execute(order)


def _valid(order: WireOrder) -> WireOrder:
    amounts = (order.quantity, order.price)
    if any(amount is not None and not (amount.is_finite() and amount > ZERO) for amount in amounts):
        raise msgspec.ValidationError("an amount is not greater than zero")
    return order


def _write(connection: psycopg.Connection, done: Sequence[Done], at: datetime) -> None:
    if not done:
        return
    rows = zip(
        *(
            (
                order.order_id,
                entry_id,
                execution.status,
                order.symbol,
                order.side,
                order.quantity,
                order.price,
                order.stop_loss_pct,
                order.signal_id,
                order.reason,
                order.timestamp,
                order.strategy_id,
                order.bot_id,
                order.client_id,
                execution.filled_quantity,
                execution.average_price,
                execution.error_message,
            )
            for entry_id, order, execution in done
        ),
        strict=True,
    )
    fills = [
        (order.order_id, trade.trade_id, trade.quantity, trade.price, trade.commission)
        for _, order, execution in done
        for trade in execution.trades
    ]
    connection.execute(_INSERT_ORDERS, (at, *map(array_literal, rows)))
    if fills:
        connection.execute(_INSERT_TRADES, (at, *map(array_literal, zip(*fills, strict=True))))
    connection.commit()


def array_literal(values: Sequence[object]) -> str:
    """Return values as one PostgreSQL array: a JSON array in other brackets, but for the escapes of JSON."""
    literal = _encode(values).decode()
    if "\\" in literal:
        literal = f"[{','.join(map(_quoted, values))}]"
    return f"{{{literal[1:-1]}}}"


def _quoted(value: object) -> str:
    if value is None:
        return "null"
    return '"{}"'.format(str(value).replace("\\", "\\\\").replace('"', '\\"'))


def _publish(
    client: Any,  # noqa: ANN401
    entry_ids: Sequence[str],
    done: Iterable[Done],
    at: datetime,
) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for entry_id, order, execution in done:
            fields = result_fields(order, entry_id, execution, at)
            pipeline.execute_command("XADD", surroundings.RESULTS, "*", *chain.from_iterable(fields.items()))
        pipeline.execute_command("XACK", surroundings.ORDERS, surroundings.GROUP, *entry_ids)
        pipeline.execute()


if __name__ == "__main__":
    main()
