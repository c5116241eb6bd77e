"""The limit by hand: what one thread of Python can do at the most, with no guarantee at all.

Connections without a client, commands packed by hand, rows copied into the project's own columns. Serial, or
with `ahead` as the worker does it: the next batch is asked for before this one is committed, and executed
while Redis takes the results. An order that comes again ends the process, a control character in a text is
written wrong, and nobody but the database asks what an amount is.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

import msgspec
import psycopg
import redis

from benchmarks.designs import surroundings
from benchmarks.designs.paper import execute
from worker.domain.decimals import plain
from worker.domain.orders import Execution, Side

AHEAD = "ahead"
# An array of JSON is a line of CSV between brackets as long as no text in it holds a control character.
_CSV = "FROM STDIN (FORMAT csv, NULL 'null', ESCAPE '\\', ENCODING 'UTF8')"
_COPY_ORDERS = f"""
COPY orders (order_id, entry_id, fingerprint, status, executed_at,
    symbol, side, quantity, price, stop_loss_pct,
    signal_id, reason, "timestamp", strategy_id, bot_id, client_id,
    filled_quantity, average_price, error_message, dead_reason, source) {_CSV}
"""
_COPY_TRADES = f"COPY trades (order_id, trade_id, quantity, price, commission, executed_at) {_CSV}"

_lines = msgspec.json.Encoder(decimal_format="string").encode_lines

Entry: TypeAlias = tuple[bytes, Sequence[bytes]]


class ReadOrder(NamedTuple):
    """An order as it stands on the stream, amounts parsed."""

    order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal | None
    stop_loss_pct: Decimal | None
    signal_id: str | None
    reason: str | None
    timestamp: str | None
    strategy_id: str | None
    bot_id: str | None
    client_id: str | None


Done: TypeAlias = tuple[str, ReadOrder, Execution]


def main(*, ahead: bool) -> None:
    """Work until the process is ended."""
    reader, writer = _connected(), _connected()
    read = packed(
        *("XREADGROUP", "GROUP", surroundings.GROUP, surroundings.consumer()),
        *("COUNT", str(surroundings.batch_size()), "BLOCK", "2000", "STREAMS", surroundings.ORDERS, ">"),
    )
    replies = 0
    with psycopg.connect(surroundings.database_url(), application_name="limit") as connection:
        _send(reader, read)
        while True:
            entries = _entries(reader.read_response(disable_decoding=True))
            if ahead:
                _send(reader, read)
            done = [executed(entry) for entry in entries]
            at = datetime.now(UTC)
            if done:
                _copy(connection, done, at)
                _collect(writer, replies)
                replies = _publish(writer, done, at)
            if not ahead:
                _collect(writer, replies)
                replies = 0
                _send(reader, read)


def _connected() -> Any:  # noqa: ANN401  redis-py is half typed
    connection: Any = redis.ConnectionPool.from_url(surroundings.redis_url(), protocol=2).make_connection()
    connection.connect()
    return connection


def _send(connection: Any, commands: bytes) -> None:  # noqa: ANN401
    connection.send_packed_command([commands], check_health=False)


def packed(*parts: str) -> bytes:
    """Return a command as it is sent."""
    lines = "".join([f"${len(part.encode())}\r\n{part}\r\n" for part in parts])
    return f"*{len(parts)}\r\n{lines}".encode()


def _entries(reply: Any) -> Sequence[Entry]:  # noqa: ANN401
    return reply[0][1] if reply else ()


def executed(entry: Entry) -> Done:
    """Execute the order of an entry."""
    entry_id, raw = entry
    said = dict(zip(raw[::2], map(bytes.decode, raw[1::2]), strict=True))
    take, price, stop_loss = said.get, said.get(b"price"), said.get(b"stop_loss_pct")
    order = ReadOrder(
        said[b"order_id"],
        said[b"symbol"],
        Side(said[b"side"]),
        Decimal(said[b"quantity"]),
        None if price is None else Decimal(price),
        None if stop_loss is None else Decimal(stop_loss),
        take(b"signal_id"),
        take(b"reason"),
        take(b"timestamp"),
        take(b"strategy_id"),
        take(b"bot_id"),
        take(b"client_id"),
    )
    return entry_id.decode(), order, execute(order)


def _copy(connection: psycopg.Connection, done: Sequence[Done], at: datetime) -> None:
    rows = [
        (
            *(order.order_id, entry_id, "", made.status, at, *order[1:]),
            *(made.filled_quantity, made.average_price, made.error_message, None, surroundings.ORDERS),
        )
        for entry_id, order, made in done
    ]
    fills = [
        (order.order_id, trade.trade_id, trade.quantity, trade.price, trade.commission, at)
        for _, order, made in done
        for trade in made.trades
    ]
    with connection.cursor() as cursor:
        for statement, lines in ((_COPY_ORDERS, rows), (_COPY_TRADES, fills)):
            with cursor.copy(statement.encode()) as copy:
                copy.write(_lines(lines)[1:-2].replace(b"]\n[", b"\n"))
    connection.commit()


def _publish(connection: Any, done: Sequence[Done], at: datetime) -> int:  # noqa: ANN401
    """Send results and acks; return how many replies there will be."""
    seconds = str(int(at.timestamp()))
    commands = [packed("XADD", surroundings.RESULTS, "*", *result(each, seconds)) for each in done]
    acks = packed("XACK", surroundings.ORDERS, surroundings.GROUP, *(entry_id for entry_id, _, _ in done))
    _send(connection, b"".join([*commands, acks]))
    return len(done) + 1


def result(done: Done, seconds: str) -> list[str]:
    """Return the fields of a result, names and values in turn."""
    entry_id, order, made = done
    fields = [
        *("type", "order_result", "order_id", order.order_id, "entry_id", entry_id, "status", made.status),
        *("filled_quantity", plain(made.filled_quantity), "timestamp", seconds, "symbol", order.symbol),
        *("side", order.side, "quantity", plain(order.quantity)),
    ]
    if made.average_price is not None:
        fields += ("price", plain(made.average_price), "trade_id", made.trades[0].trade_id)
    for name in ("strategy_id", "bot_id", "client_id"):
        if (label := getattr(order, name)) is not None:
            fields += (name, label)
    if made.error_message is not None:
        fields += ("error_message", made.error_message)
    return fields


def _collect(connection: Any, replies: int) -> None:  # noqa: ANN401
    for _ in range(replies):
        connection.read_response(disable_decoding=True)


if __name__ == "__main__":
    main(ahead=AHEAD in sys.argv[1:])
