"""Rows on their way in: one parameter of JSON text, however many there are, in which names are short and NULL is left out."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from operator import attrgetter
from string import ascii_letters
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, DateTime, LargeBinary, Numeric, Text, bindparam, cast, column, func
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.types import TypeEngine

from worker.domain.errors import RowRefused
from worker.domain.orders import OrderRecord, Side, Status
from worker.store.tables import orders, trades

_encode = msgspec.json.Encoder().encode
_letters = iter(ascii_letters)


@cache
def _short(_name: str) -> str:
    return next(_letters)


class IncomingOrder(msgspec.Struct, rename=_short, omit_defaults=True):
    """A row of orders, its fields named like the columns; `replay_of` is asked for and not stored."""

    order_id: str
    entry_id: str
    fingerprint: str
    status: Status
    executed_at: datetime
    filled_quantity: Decimal
    symbol: str | None = None
    side: Side | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    stop_loss_pct: Decimal | None = None
    signal_id: str | None = None
    reason: str | None = None
    timestamp: str | None = None
    strategy_id: str | None = None
    bot_id: str | None = None
    client_id: str | None = None
    average_price: Decimal | None = None
    error_message: str | None = None
    replay_of: str | None = None


class IncomingTrade(msgspec.Struct, rename=_short):
    """A row of trades, its fields named like the columns."""

    order_id: str
    trade_id: str
    quantity: Decimal
    price: Decimal
    commission: Decimal
    executed_at: datetime


TRADE_COLUMNS = IncomingTrade.__struct_fields__
# What is written; the others of the table write themselves.
ORDER_COLUMNS = tuple(name for name in IncomingOrder.__struct_fields__ if name != "replay_of")


def incoming_orders(name: str) -> dict[str, ColumnElement[object]]:
    """Return the columns of the rows that a parameter holds, by the names of orders."""
    # Whom a replay stands for is spelled like the entry it names.
    return _incoming(name, IncomingOrder, {**orders.c, "replay_of": orders.c.entry_id})


def incoming_trades(name: str) -> dict[str, ColumnElement[object]]:
    """Return the columns of the rows that a parameter holds, by the names of trades."""
    return _incoming(name, IncomingTrade, dict(trades.c))


def order_rows(records: Iterable[OrderRecord]) -> str:
    """Return rows of orders as a parameter. Raises RowRefused where one can't be put into text."""
    return _parameter([_order_row(record) for record in _in_order(records)])


def trade_rows(records: Iterable[OrderRecord]) -> str:
    """Return the trades of orders as a parameter. Raises RowRefused where one can't be put into text."""
    return _parameter(
        [
            IncomingTrade(
                record.order_id,
                trade.trade_id,
                trade.quantity,
                trade.price,
                trade.commission,
                record.executed_at,
            )
            for record in records
            for trade in record.trades
        ]
    )


def _incoming(
    name: str, rows: type[msgspec.Struct], likes: Mapping[str, ColumnElement[object]]
) -> dict[str, ColumnElement[object]]:
    keys = dict(zip(rows.__struct_fields__, rows.__struct_encode_fields__, strict=True))
    # One parameter of JSON text: one statement, one plan, and no escaping of our own.
    plain_types: dict[type, TypeEngine[Any]] = {
        Text: Text(),
        Numeric: Numeric(),
        DateTime: DateTime(timezone=True),
        LargeBinary: LargeBinary(),
    }
    table = (
        func.json_to_recordset(cast(bindparam(name, type_=Text()), JSON))
        .table_valued(*(column(key, plain_types[type(likes[field].type)]) for field, key in keys.items()))
        .render_derived(name=name, with_types=True)
    )
    return {field: table.c[key] for field, key in keys.items()}


def _parameter(rows: Sequence[msgspec.Struct]) -> str:
    try:
        return _encode(rows).decode()
    except (TypeError, UnicodeEncodeError) as error:
        # A custom executor can put anything into a trade.
        raise RowRefused(f"{type(error).__name__}: {error}") from error


def _in_order(records: Iterable[OrderRecord]) -> list[OrderRecord]:
    # Sorted, so that two replicas with orders in common never wait for each other in a circle. The sort is
    # stable and the statement keeps its order: of two entries with one order the first on the stream owns it.
    return sorted(records, key=attrgetter("order_id"))


def _order_row(record: OrderRecord) -> IncomingOrder:
    labels = record.labels
    return IncomingOrder(
        record.order_id,
        record.entry_id,
        "\\x" + record.fingerprint.hex(),
        record.status,
        record.executed_at,
        record.filled_quantity,
        record.symbol,
        record.side,
        record.quantity,
        record.price,
        record.stop_loss_pct,
        labels.signal_id,
        labels.reason,
        labels.timestamp,
        labels.strategy_id,
        labels.bot_id,
        labels.client_id,
        record.average_price,
        record.error_message,
        record.replay_of,
    )
