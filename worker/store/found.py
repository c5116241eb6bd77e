"""Rows as they stand: orders beside their trades, read in one statement."""

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from msgspec.structs import replace
from sqlalchemy import Connection, select
from sqlalchemy.sql.expression import ColumnElement

from worker.domain.fleets import Stranger
from worker.domain.orders import Labels, OrderRecord, Side, Status, Trade
from worker.store.tables import UNSOURCED, orders, trades

_LABELS = Labels.__struct_fields__
# Orders have columns of the same names.
_FILL = {name: f"fill_{name}" for name in Trade.__struct_fields__}
# In one statement: whoever is asked once answers of one instant.
_with_fills = (
    select(orders, *(trades.c[name].label(label) for name, label in _FILL.items()))
    .outerjoin_from(orders, trades)
    .order_by(orders.c.order_id, trades.c.trade_id)
)


class Found(NamedTuple):
    """A row, and the source that it is of."""

    source: str
    recorded_at: datetime
    row: OrderRecord

    def said_by(self, others: Container[str], here: Mapping[str, datetime]) -> OrderRecord:
        """Return the row, with the source that has it where that is one of the others.

        `here` are the sources that publish here, and since when.
        """
        if self.source not in others:
            return self.row
        since = here.get(self.source)
        # What it wrote before, it published elsewhere.
        return replace(
            self.row, stranger=Stranger(self.source, since is not None and since <= self.recorded_at)
        )


def by_entry(found: Iterable[Found]) -> dict[str, OrderRecord]:
    """Return rows by entry id; of two rows of an entry that which has a source."""
    return {each.row.entry_id: each.row for each in sorted(found, key=attrgetter("source"))}


def rows_where(connection: Connection, condition: ColumnElement[bool]) -> list[Found]:
    """Return the rows for which a condition holds, by order id, their trades by trade id."""
    rows = connection.execute(_with_fills.where(condition)).mappings()
    grouped = (list(fills) for _, fills in groupby(rows, key=itemgetter("order_id")))
    return [Found(fills[0]["source"], fills[0]["recorded_at"], _record(fills)) for fills in grouped]


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
        labels=Labels(**{name: row[name] for name in _LABELS}),
        filled_quantity=row["filled_quantity"],
        average_price=row["average_price"],
        error_message=row["error_message"],
        dead_reason=row["dead_reason"],
        traceparent=row["traceparent"],
        unsourced=row["source"] == UNSOURCED,
        trades=tuple(
            Trade(**{name: fill[label] for name, label in _FILL.items()})
            for fill in fills
            if fill["fill_trade_id"] is not None
        ),
    )
