"""The orders table as inbox and outbox: records executions, finds what stands already."""

from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    DateTime,
    LargeBinary,
    Numeric,
    Text,
    bindparam,
    cast,
    column,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql.expression import ColumnElement, TableValuedAlias
from sqlalchemy.types import TypeEngine

from worker.domain.errors import Outage, RowRefused
from worker.domain.orders import Labels, OrderRecord, Side, Status, Trade
from worker.store.engine import Database
from worker.store.tables import orders, trades

_encoder = msgspec.json.Encoder()

_LABELS = ("signal_id", "reason", "timestamp", "strategy_id", "bot_id", "client_id")
_ORDER_COLUMNS = (
    "order_id",
    "entry_id",
    "fingerprint",
    "status",
    "executed_at",
    "symbol",
    "side",
    "quantity",
    "price",
    "stop_loss_pct",
    *_LABELS,
    "filled_quantity",
    "average_price",
    "error_message",
)
_TRADE_COLUMNS = ("order_id", "trade_id", "quantity", "price", "commission", "executed_at")


def _rows_of(name: str, table: Any, columns: Sequence[str]) -> TableValuedAlias:  # noqa: ANN401  a Table
    # One parameter of JSON text however many rows: one statement, one plan, and no escaping of our own.
    plain_types: dict[type, TypeEngine[Any]] = {
        Text: Text(),
        Numeric: Numeric(),
        DateTime: DateTime(timezone=True),
        LargeBinary: LargeBinary(),
    }
    return (
        func.json_to_recordset(cast(bindparam(name, type_=Text()), JSON))
        .table_valued(*(column(each, plain_types[type(_column(table, each).type)]) for each in columns))
        .render_derived(name="incoming", with_types=True)
    )


def _column(table: Any, name: str) -> Any:  # noqa: ANN401  a Table and a Column
    # Whom a replay stands for is asked for and never kept: it is spelled like the entry it names.
    return table.c["entry_id" if name == "replay_of" else name]


_new_orders = _rows_of("orders", orders, _ORDER_COLUMNS)
_insert_orders = (
    upsert(orders)
    .from_select(_ORDER_COLUMNS, select(*_new_orders.c))
    .on_conflict_do_nothing()
    .returning(orders.c.entry_id)
)
_replays = _rows_of("replays", orders, (*_ORDER_COLUMNS, "replay_of"))
_owned = orders.alias("owned")
# Of two replays of one entry, or a replay and its own repetition, only the first finds the row still dead and owned by
# what was buried; the other waits for it, and then matches nothing.
_take_over = (
    update(orders)
    .values({name: _replays.c[name] for name in _ORDER_COLUMNS} | {"recorded_at": func.now()})
    .where(
        orders.c.order_id == _replays.c.order_id,
        orders.c.entry_id == _replays.c.replay_of,
        orders.c.status == Status.DEAD,
        ~select(_owned.c.order_id).where(_owned.c.entry_id == _replays.c.entry_id).exists(),
    )
    .returning(orders.c.entry_id)
)
_OUTCOME_COLUMNS = ("status", "executed_at", "filled_quantity", "average_price", "error_message")
_outcomes = _rows_of("outcomes", orders, ("order_id", "entry_id", *_OUTCOME_COLUMNS))
# Whatever is no intent of this entry any more stands as it is: somebody else has resolved it.
_resolve = (
    update(orders)
    .values({name: _outcomes.c[name] for name in _OUTCOME_COLUMNS} | {"recorded_at": func.now()})
    .where(
        orders.c.order_id == _outcomes.c.order_id,
        orders.c.entry_id == _outcomes.c.entry_id,
        orders.c.status == Status.SUBMITTED,
    )
    .returning(orders.c.entry_id)
)
_new_trades = _rows_of("trades", trades, _TRADE_COLUMNS)
_insert_trades = insert(trades).from_select(_TRADE_COLUMNS, select(*_new_trades.c))
_FILL = ("trade_id", "trade_quantity", "trade_price", "trade_commission")
# In one statement: whoever is asked once answers of one instant.
_with_fills = (
    select(
        orders,
        trades.c.trade_id,
        *(trades.c[name].label(f"trade_{name}") for name in ("quantity", "price", "commission")),
    )
    .outerjoin_from(orders, trades)
    .order_by(orders.c.order_id, trades.c.trade_id)
)


class OrderStore:
    """Rows of orders with their trades. Raises Outage (effect unknown, repeatable) or RowRefused (nothing written)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ping(self) -> None:
        """Return when PostgreSQL answers; raises Outage otherwise."""
        self._database.ping()

    def record(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        """Write the rows in one transaction and return, in the same places, the row that stands for each.

        That is the record itself (the same object) where it was written, else what stood there before: the
        row of its entry, else of its order. Waits for a transaction of another replica that is writing the
        same order. A replay takes over the row of its order where that is DEAD and belongs to what it replays.
        """
        replays = [record for record in records if record.replay_of is not None]
        with self._database.transaction() as connection:
            taken = _taken_over(connection, replays) if replays else set[str]()
            new = [record for record in records if record.entry_id not in taken] if taken else records
            written = taken | set(connection.scalars(_insert_orders, {"orders": _order_rows(new)}))
            return _with_trades(connection, records, written)

    def resolve(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        """Write the outcomes of orders in one transaction and return, in the same places, the row that stands for each.

        Only a row that says SUBMITTED and belongs to the same entry gets its outcome (status, time, amounts, error,
        trades; the rest of it stays). That returns the very record; any other row stands as it is and is returned.
        """
        with self._database.transaction() as connection:
            # Locked in one order everywhere, since an update joins its rows in any: no deadlocks between replicas.
            named = orders.c.order_id.in_([record.order_id for record in records])
            connection.execute(
                select(orders.c.order_id).where(named).order_by(orders.c.order_id).with_for_update()
            )
            written = set(connection.scalars(_resolve, {"outcomes": _order_rows(records)}))
            return _with_trades(connection, records, written)

    def find(self, entry_ids: Sequence[str]) -> dict[str, OrderRecord]:
        """Ask the inbox: return the rows that these entries own, by entry id."""
        with self._database.transaction() as connection:
            found = _select(connection, orders.c.entry_id.in_(entry_ids))
        return {record.entry_id: record for record in found}


def _with_trades(
    connection: Connection, records: Sequence[OrderRecord], written: Container[str]
) -> list[OrderRecord]:
    """Write the trades of the records that were written, and return what stands for each record."""
    filled = [record for record in records if record.trades and record.entry_id in written]
    if filled:
        connection.execute(_insert_trades, {"trades": _trade_rows(filled)})
    others = [record for record in records if record.entry_id not in written]
    standing = _standing(connection, others) if others else {}
    return [standing.get(id(record), record) for record in records]


def _taken_over(connection: Connection, replays: Sequence[OrderRecord]) -> set[str]:
    # One row can change once in a statement: of several replays in a batch the first on the stream gets it.
    first: dict[str, OrderRecord] = {}
    for record in replays:
        first.setdefault(record.order_id, record)
    return set(connection.scalars(_take_over, {"replays": _replay_rows(first.values())}))


def _encode(rows: Sequence[Mapping[str, object]]) -> str:
    try:
        return _encoder.encode(rows).decode()
    except (TypeError, UnicodeEncodeError) as error:
        # A custom executor can put anything into a trade.
        raise RowRefused(f"{type(error).__name__}: {error}") from error


def _order_rows(records: Iterable[OrderRecord]) -> str:
    return _encode([_order_row(record) for record in _in_order(records)])


def _replay_rows(records: Iterable[OrderRecord]) -> str:
    return _encode([_order_row(record) | {"replay_of": record.replay_of} for record in _in_order(records)])


def _in_order(records: Iterable[OrderRecord]) -> list[OrderRecord]:
    # Sorted, so that two replicas with orders in common never wait for each other in a circle. The sort is
    # stable and the statement keeps its order: of two entries with one order the first on the stream owns it.
    return sorted(records, key=attrgetter("order_id"))


def _order_row(record: OrderRecord) -> dict[str, object]:
    labels = record.labels
    return {
        "order_id": record.order_id,
        "entry_id": record.entry_id,
        "fingerprint": "\\x" + record.fingerprint.hex(),
        "status": record.status,
        "executed_at": record.executed_at,
        "symbol": record.symbol,
        "side": record.side,
        "quantity": record.quantity,
        "price": record.price,
        "stop_loss_pct": record.stop_loss_pct,
        "signal_id": labels.signal_id,
        "reason": labels.reason,
        "timestamp": labels.timestamp,
        "strategy_id": labels.strategy_id,
        "bot_id": labels.bot_id,
        "client_id": labels.client_id,
        "filled_quantity": record.filled_quantity,
        "average_price": record.average_price,
        "error_message": record.error_message,
    }


def _trade_rows(records: Iterable[OrderRecord]) -> str:
    rows = [
        dict(
            zip(
                _TRADE_COLUMNS,
                (
                    record.order_id,
                    trade.trade_id,
                    trade.quantity,
                    trade.price,
                    trade.commission,
                    record.executed_at,
                ),
                strict=True,
            )
        )
        for record in records
        for trade in record.trades
    ]
    return _encode(rows)


def _standing(connection: Connection, records: Sequence[OrderRecord]) -> dict[int, OrderRecord]:
    entry_ids = [record.entry_id for record in records]
    order_ids = [record.order_id for record in records]
    found = _select(connection, orders.c.entry_id.in_(entry_ids) | orders.c.order_id.in_(order_ids))
    by_entry = {record.entry_id: record for record in found}
    by_order = {record.order_id: record for record in found}
    try:
        return {id(record): by_entry.get(record.entry_id) or by_order[record.order_id] for record in records}
    except KeyError as missing:
        raise Outage("postgresql", f"the row of order {missing} vanished") from None


def _select(connection: Connection, condition: ColumnElement[bool]) -> list[OrderRecord]:
    rows = connection.execute(_with_fills.where(condition)).mappings()
    return [_record(list(fills)) for _, fills in groupby(rows, key=itemgetter("order_id"))]


def _record(fills: Sequence[Any]) -> OrderRecord:
    """Return the row that stands beside each of its trades."""
    row = fills[0]
    return OrderRecord(
        order_id=row["order_id"],
        entry_id=row["entry_id"],
        fingerprint=bytes(row["fingerprint"]),
        status=Status(row["status"]),
        executed_at=row["executed_at"],
        symbol=row["symbol"],
        side=None if row["side"] is None else Side(row["side"]),
        quantity=row["quantity"],
        price=row["price"],
        stop_loss_pct=row["stop_loss_pct"],
        labels=Labels(*(row[name] for name in _LABELS)),
        filled_quantity=row["filled_quantity"],
        average_price=row["average_price"],
        error_message=row["error_message"],
        trades=tuple(
            Trade(*(fill[name] for name in _FILL)) for fill in fills if fill["trade_id"] is not None
        ),
    )
