"""Rows on their way out to files: whole, with their trades, in the order in which they were recorded."""

from datetime import datetime

from sqlalchemy import func, select, tuple_

from worker.domain.evidence import Owner
from worker.domain.fleets import Fleet
from worker.store.engine import Database
from worker.store.found import Found, rows_where
from worker.store.tables import of_source, one_of, orders


class RowsToExport:
    """The rows of our source, the oldest first. Raises Outage."""

    def __init__(self, database: Database, fleet: Fleet) -> None:
        self._database = database
        self._source = fleet.source

    def now(self) -> datetime:
        """Return the time of the database."""
        with self._database.transaction() as connection:
            at: datetime = connection.execute(select(func.now())).scalar_one()
            return at

    def page(self, after: Owner | None, before: datetime, count: int) -> list[Found]:
        """Return the first rows behind one that were recorded before a time, in the order of recording."""
        place = tuple_(orders.c.recorded_at, orders.c.entry_id)
        named = (
            select(orders.c.order_id)
            .where(orders.c.recorded_at < before, of_source(self._source))
            .order_by(orders.c.recorded_at, orders.c.entry_id)
            .limit(count)
        )
        if after is not None:
            named = named.where(place > (after.recorded_at, after.entry_id))
        with self._database.transaction() as connection:
            order_ids = connection.scalars(named).all()
            found = rows_where(connection, one_of(orders.c.order_id, order_ids)) if order_ids else []
        return sorted(found, key=lambda each: (each.recorded_at, each.row.entry_id))
