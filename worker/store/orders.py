"""The orders table as inbox and outbox: records executions, finds what stands already."""

from collections.abc import Container, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import structlog
from sqlalchemy import ARRAY, Connection, Text, any_, bindparam, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql.expression import ColumnElement

from worker.domain.errors import Outage, RowRefused
from worker.domain.orders import Labels, OrderRecord, Side, Status, Trade
from worker.store.engine import Database, copy
from worker.store.rows import (
    COPY_ORDERS,
    COPY_TRADES,
    ORDER_COLUMNS,
    TRADE_COLUMNS,
    incoming_orders,
    incoming_trades,
    order_lines,
    order_rows,
    trade_lines,
    trade_rows,
)
from worker.store.tables import orders, trades

log = structlog.get_logger(__name__)

# A refused copy was for nothing; whoever repeats an order repeats others soon.
INSERTS_AFTER_A_REFUSAL = 50

_LABELS = Labels.__struct_fields__
_new_orders = incoming_orders("new_orders")
_insert_orders = (
    upsert(orders)
    .from_select(ORDER_COLUMNS, select(*(_new_orders[name] for name in ORDER_COLUMNS)))
    .on_conflict_do_nothing()
    .returning(orders.c.entry_id)
)
_replays = incoming_orders("replays")
_owned = orders.alias("owned")
# Of two replays of one entry, or a replay and its own repetition, only the first finds the row still dead and owned by
# what was buried; the other waits for it, and then matches nothing.
_take_over = (
    update(orders)
    .values({name: _replays[name] for name in ORDER_COLUMNS} | {"recorded_at": func.now()})
    .where(
        orders.c.order_id == _replays["order_id"],
        orders.c.entry_id == _replays["replay_of"],
        orders.c.status == Status.DEAD,
        ~select(_owned.c.order_id).where(_owned.c.entry_id == _replays["entry_id"]).exists(),
    )
    .returning(orders.c.entry_id)
)
_OUTCOME_COLUMNS = ("status", "executed_at", "filled_quantity", "average_price", "error_message")
_outcomes = incoming_orders("outcomes")
# Whatever is no intent of this entry any more stands as it is: somebody else has resolved it.
_resolve = (
    update(orders)
    .values({name: _outcomes[name] for name in _OUTCOME_COLUMNS} | {"recorded_at": func.now()})
    .where(
        orders.c.order_id == _outcomes["order_id"],
        orders.c.entry_id == _outcomes["entry_id"],
        orders.c.status == Status.SUBMITTED,
    )
    .returning(orders.c.entry_id)
)
_new_trades = incoming_trades("new_trades")
_insert_trades = insert(trades).from_select(TRADE_COLUMNS, select(*_new_trades.values()))
_owners = select(orders.c.entry_id).where(
    orders.c.entry_id == any_(bindparam("entry_ids", type_=ARRAY(Text)))
)
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
        self._inserts = 0

    def ping(self) -> None:
        """Return when PostgreSQL answers; raises Outage otherwise. Ends copies of other replicas that have stalled."""
        ended = self._database.end_stalled_copies((COPY_ORDERS, COPY_TRADES))
        if ended:
            log.warning("ended stalled copies", sessions=ended)

    def record(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        """Write the rows in one transaction and return, in the same places, the row that stands for each.

        That is the record itself (the same object) where it was written, else what stood there before: the
        row of its entry, else of its order. Waits for a transaction of another replica that is writing the
        same order. A replay takes over the row of its order where that is DEAD and belongs to what it replays.
        """
        replays = [record for record in records if record.replay_of is not None]
        if not replays and self._copied(records):
            return list(records)
        with self._database.transaction() as connection:
            taken = _taken_over(connection, replays) if replays else set[str]()
            new = [record for record in records if record.entry_id not in taken] if taken else records
            written = taken | set(connection.scalars(_insert_orders, {"new_orders": order_rows(new)}))
            return _with_trades(connection, records, written)

    def _copied(self, records: Sequence[OrderRecord]) -> bool:
        """Try the cheaper way, which works where no order was there before; return whether all is written."""
        if self._inserts:
            self._inserts -= 1
            return False
        try:
            rows, fills = order_lines(records), trade_lines(records)
            if rows is None or fills is None:
                return False
            with self._database.transaction() as connection:
                copy(connection, COPY_ORDERS, rows)
                if fills:
                    copy(connection, COPY_TRADES, fills)
        except RowRefused:
            # By what was there before, or for what it is: inserting it tells.
            self._inserts = INSERTS_AFTER_A_REFUSAL
            return False
        return True

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
            written = set(connection.scalars(_resolve, {"outcomes": order_rows(records)}))
            return _with_trades(connection, records, written)

    def find(self, entry_ids: Sequence[str]) -> dict[str, OrderRecord]:
        """Ask the inbox: return the rows that these entries own, by entry id."""
        with self._database.transaction() as connection:
            # Most of what is asked about owns none, and whole rows, trades beside them, take longer to plan.
            owners = connection.scalars(_owners, {"entry_ids": list(entry_ids)}).all()
            found = _select(connection, orders.c.entry_id.in_(owners)) if owners else []
        return {record.entry_id: record for record in found}


def _with_trades(
    connection: Connection, records: Sequence[OrderRecord], written: Container[str]
) -> list[OrderRecord]:
    """Write the trades of the records that were written, and return what stands for each record."""
    filled = [record for record in records if record.trades and record.entry_id in written]
    if filled:
        connection.execute(_insert_trades, {"new_trades": trade_rows(filled)})
    others = [record for record in records if record.entry_id not in written]
    standing = _standing(connection, others) if others else {}
    return [standing.get(id(record), record) for record in records]


def _taken_over(connection: Connection, replays: Sequence[OrderRecord]) -> set[str]:
    # One row can change once in a statement: of several replays in a batch the first on the stream gets it.
    first: dict[str, OrderRecord] = {}
    for record in replays:
        first.setdefault(record.order_id, record)
    return set(connection.scalars(_take_over, {"replays": order_rows(first.values())}))


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
