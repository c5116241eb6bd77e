"""Rows of new orders on their way in by COPY, which takes all of them or none."""

from collections.abc import Sequence

from sqlalchemy import Connection

from worker.domain.orders import OrderRecord
from worker.store import statements
from worker.store.engine import copy
from worker.store.fidelity import Fidelity
from worker.store.rows import (
    COPY_ORDERS,
    COPY_TRADES,
    first_of_each_order,
    order_lines,
    trade_lines,
    trades_of,
)


class Copying:
    """Copies what is new of a batch. What is known is taken out first, as long as batches have any.

    Whoever repeats an order repeats others soon, and a copy that is refused was for nothing; while all are
    new, nothing is asked.
    """

    def __init__(self, fidelity: Fidelity, source: str) -> None:
        self._fidelity = fidelity
        self._source = source
        self.asks = False

    def write(self, connection: Connection, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        """Write the rows of orders that are not there yet, with their trades; return whose they are.

        Raises RowRefused where one can't be written so.
        """
        unknown = self._unknown(connection, records) if self.asks else records
        self.asks = len(unknown) < len(records)
        # Of what is left: an entry that has a row of another order is not the first of its own.
        new = first_of_each_order(unknown)
        if new:
            rows, fills = order_lines(new, self._source), trade_lines(new)
            self._fidelity.count(connection, copy(connection, COPY_ORDERS, rows), len(new), "orders")
            if fills:
                stored = copy(connection, COPY_TRADES, fills)
                self._fidelity.count(connection, stored, trades_of(new), "trades")
            self._fidelity.compare(connection, new, self._source)
        return new

    def _unknown(self, connection: Connection, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        """Return those that no unique key of ours refuses."""
        asked = {
            "order_ids": [record.order_id for record in records],
            "entry_ids": [record.entry_id for record in records],
            "source": self._source,
        }
        found = connection.execute(statements.known, asked).all()
        order_ids = {row.order_id for row in found}
        entry_ids = {row.entry_id for row in found if row.source == self._source}
        return [
            record
            for record in records
            if record.order_id not in order_ids and record.entry_id not in entry_ids
        ]
