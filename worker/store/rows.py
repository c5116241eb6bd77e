"""Rows on their way in: lines to copy, or one parameter of JSON text in which NULL is left out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import astuple
from sqlalchemy import ColumnElement, DateTime, LargeBinary, Numeric, Text, bindparam, cast, column, func
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import KeyedColumnElement
from sqlalchemy.types import TypeEngine

from worker.domain.errors import RowRefused
from worker.domain.orders import Labels, OrderRecord, Trade
from worker.store.engine import copying
from worker.store.tables import orders, trades

Row: TypeAlias = tuple[Any, ...]
Columns: TypeAlias = ReadOnlyColumnCollection[str, KeyedColumnElement[Any]]

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines

# Of each column that is written as it is, where a record has it. A new label is one of Labels, and of the
# table.
_TAKEN = {
    "order_id": "order_id",
    "entry_id": "entry_id",
    "status": "status",
    "executed_at": "executed_at",
    "filled_quantity": "filled_quantity",
    "symbol": "symbol",
    "side": "side",
    "quantity": "quantity",
    "price": "price",
    "stop_loss_pct": "stop_loss_pct",
    **{name: f"labels.{name}" for name in Labels.__struct_fields__},
    "average_price": "average_price",
    "error_message": "error_message",
    "dead_reason": "dead_reason",
    "traceparent": "traceparent",
}
_take = attrgetter(*_TAKEN.values())
# What is written; the others of the table write themselves.
ORDER_COLUMNS = (*_TAKEN, "fingerprint", "source")
# Of a trade, what its order says and what it says itself.
_OF_ITS_ORDER = ("order_id", "executed_at")
_take_of_its_order = attrgetter(*_OF_ITS_ORDER)
TRADE_COLUMNS = (*_OF_ITS_ORDER, *Trade.__struct_fields__)


def _struct(name: str, columns: Sequence[str]) -> type[msgspec.Struct]:
    """Return what becomes a row of these columns, in JSON under their names."""
    return msgspec.defstruct(name, [(each, Any, None) for each in columns], omit_defaults=True)


# Which row a replay may take over is asked for, and not stored.
_IncomingOrder = _struct("IncomingOrder", (*ORDER_COLUMNS, "replay_of"))
_IncomingTrade = _struct("IncomingTrade", TRADE_COLUMNS)

COPY_ORDERS = copying(orders, ORDER_COLUMNS)
COPY_TRADES = copying(trades, TRADE_COLUMNS)


def incoming_orders(name: str) -> Columns:
    """Return the columns of the rows that a parameter holds, by the names of orders."""
    # Whom a replay stands for is spelled like the entry it names.
    return _incoming(name, _IncomingOrder, {**orders.c, "replay_of": orders.c.entry_id})


def incoming_trades(name: str) -> Columns:
    """Return the columns of the rows that a parameter holds, by the names of trades."""
    return _incoming(name, _IncomingTrade, dict(trades.c))


def order_rows(records: Iterable[OrderRecord], source: str) -> str:
    """Return rows of a source as a parameter. Raises RowRefused where one can't be put into text."""
    with _refused():
        rows = [_IncomingOrder(*_order(each, source), each.replay_of) for each in _in_order(records)]
        return _encode(rows).decode()


def trade_rows(records: Iterable[OrderRecord]) -> str:
    """Return the trades of orders as a parameter. Raises RowRefused where one can't be put into text."""
    with _refused():
        return _encode([_IncomingTrade(*row) for row in _trades(records)]).decode()


def order_lines(records: Iterable[OrderRecord], source: str) -> bytes:
    """Return rows of a source as COPY_ORDERS reads them.

    Raises RowRefused where one can't be put into such lines.
    """
    return _lines([_order(record, source) for record in _in_order(records)])


def trade_lines(records: Iterable[OrderRecord]) -> bytes:
    """Return the trades of orders as COPY_TRADES reads them.

    Raises RowRefused where one can't be put into such lines.
    """
    return _lines(list(_trades(records)))


def _incoming(name: str, rows: type[msgspec.Struct], likes: Mapping[str, ColumnElement[object]]) -> Columns:
    # One parameter of JSON text: one statement, one plan, and no escaping of our own.
    plain_types: dict[type, TypeEngine[Any]] = {
        Text: Text(),
        Numeric: Numeric(),
        DateTime: DateTime(timezone=True),
        LargeBinary: LargeBinary(),
    }
    columns = [column(each, plain_types[type(likes[each].type)]) for each in rows.__struct_fields__]
    return (
        func.json_to_recordset(cast(bindparam(name, type_=Text()), JSON))
        .table_valued(*columns)
        .render_derived(name=name, with_types=True)
        .c
    )


def _lines(rows: Sequence[Row]) -> bytes:
    with _refused():
        lines = _encode_lines(rows)
    # An array of JSON is a line of CSV between brackets. Of the escapes of JSON this CSV knows those of
    # backslash and quote, none of control characters.
    unescaped = b"".join(lines.split(rb"\\"))
    escapes = unescaped.count(b"\\")
    if escapes and escapes != unescaped.count(b'\\"'):
        raise RowRefused("a text holds a control character, which can't be copied")
    # A line can't end inside of a text: there its end would be an escape.
    return lines[1:-2].replace(b"]\n[", b"\n")


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except (TypeError, UnicodeEncodeError) as error:
        # A custom executor can put anything into a trade.
        raise RowRefused(f"{type(error).__name__}: {error}") from error


def first_of_each_order(records: Iterable[OrderRecord]) -> list[OrderRecord]:
    """Return the records but for those whose order stands in one before them."""
    first: dict[str, OrderRecord] = {}
    for record in records:
        first.setdefault(record.order_id, record)
    return list(first.values())


def trades_of(records: Iterable[OrderRecord]) -> int:
    """Return how many trades they have."""
    return sum(len(record.trades) for record in records)


def _in_order(records: Iterable[OrderRecord]) -> list[OrderRecord]:
    # Sorted, so that two replicas with orders in common never wait for each other in a circle. The sort is
    # stable and the statement keeps its order: of two entries with one order the first on the stream owns it.
    return sorted(records, key=attrgetter("order_id"))


def _order(record: OrderRecord, source: str) -> Row:
    """Return what stands in ORDER_COLUMNS."""
    return (*_take(record), "\\x" + record.fingerprint.hex(), source)


def _trades(records: Iterable[OrderRecord]) -> Iterator[Row]:
    """Yield what stands in TRADE_COLUMNS, for each trade."""
    for record in records:
        for trade in record.trades:
            yield (*_take_of_its_order(record), *astuple(trade))
