"""What the table holds of many orders, page by page, for audits and repairs; reads only."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from sqlalchemy import func, select, text, tuple_

from worker.domain.evidence import Owner, StandingRow
from worker.domain.fleets import Fleet
from worker.domain.orders import OrderRecord, Status
from worker.domain.pruning import Pruned
from worker.store.engine import Database
from worker.store.orders import OrderStore
from worker.store.pruning import pruned, pruned_days
from worker.store.sources import Sources, publishing_here
from worker.store.tables import UNSOURCED, of_source, one_of, orders

PAGE = 500
_EXPECTED_ROWS = text("SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass('orders')")


class StoreEvidence:
    """Raises Outage where PostgreSQL does not answer."""

    def __init__(self, database: Database, fleet: Fleet) -> None:
        self._database = database
        self._rows = OrderStore(database, fleet)
        self._fleet = fleet
        self._sources = Sources(database, fleet)
        self._ours = of_source(fleet.source)

    @property
    def connections(self) -> int:
        """How often PostgreSQL was connected to: it may be another server since it last was."""
        return self._database.connections

    def now(self) -> datetime:
        """Return the time of the database."""
        with self._database.transaction() as connection:
            at: datetime = connection.execute(select(func.now())).scalar_one()
            return at

    def recorded_until(self) -> datetime:
        """Return up to when rows are recorded: now, or later where its clock was set back since."""
        newest = select(func.max(orders.c.recorded_at)).scalar_subquery()
        with self._database.transaction() as connection:
            at: datetime = connection.execute(select(func.greatest(func.now(), newest))).scalar_one()
            return at

    def expected_rows(self) -> int:
        """Return about how many rows there are."""
        with self._database.transaction() as connection:
            return int(connection.scalar(_EXPECTED_ROWS) or 0)

    def pages(self, *, from_entry: str, recorded_until: datetime) -> Iterator[list[OrderRecord]]:
        """Yield the rows recorded up to a time, from one entry id on, in the order of the ids' spelling."""
        query = (
            select(orders.c.entry_id)
            .where(orders.c.recorded_at <= recorded_until, self._ours)
            .order_by(orders.c.entry_id)
            .limit(PAGE)
        )
        # Not behind an empty name: somebody may have given a row none.
        beginning = orders.c.entry_id >= from_entry
        while True:
            with self._database.transaction() as connection:
                page = connection.scalars(query.where(beginning)).all()
            if not page:
                return
            found = self._rows.find(page)
            # Where two rows have an entry id, that which has a source is found twice.
            yield [found[entry_id] for entry_id in dict.fromkeys(page) if entry_id in found]
            beginning = orders.c.entry_id > page[-1]

    def owned_by_source(self, entry_ids: Sequence[str]) -> dict[str, str]:
        """Return the order ids of the rows of our source that these entries own, by entry id."""
        query = select(orders.c.entry_id, orders.c.order_id).where(
            one_of(orders.c.entry_id, entry_ids), orders.c.source == self._fleet.source
        )
        with self._database.transaction() as connection:
            return {row.entry_id: row.order_id for row in connection.execute(query)}

    def owned(self, entry_ids: Sequence[str]) -> dict[str, str]:
        """Return the order ids of the rows that these entries own, by entry id."""
        query = (
            select(orders.c.entry_id, orders.c.order_id)
            .where(one_of(orders.c.entry_id, entry_ids), self._ours)
            # Of two rows of an entry that which has a source stays.
            .order_by(orders.c.source)
        )
        with self._database.transaction() as connection:
            return {row.entry_id: row.order_id for row in connection.execute(query)}

    def pruned(self, day: date | None) -> Pruned | None:
        """Return how many rows of ours were let go of orders that came on a day, or on any; None: none."""
        return pruned(self._database, self._fleet, day)

    def pruned_days(self) -> dict[date, int]:
        """Return on which days entries were added whose rows were pruned, and how many had results."""
        return pruned_days(self._database)

    def standing(self, order_ids: Sequence[str]) -> dict[str, StandingRow]:
        """Return whose the rows of those orders are that have one whose result stands where ours do."""
        whose = (orders.c.entry_id, orders.c.source)
        columns = (orders.c.order_id, orders.c.fingerprint, orders.c.recorded_at, *whose)
        with self._database.transaction() as connection:
            found = connection.execute(select(*columns).where(one_of(orders.c.order_id, order_ids))).all()
            others = {row.source for row in found} - {UNSOURCED, self._fleet.source}
            here = publishing_here(connection, self._fleet, others)
        return {
            row.order_id: StandingRow("" if row.source in others else row.entry_id, bytes(row.fingerprint))
            for row in found
            if row.source not in others or (row.source in here and here[row.source] <= row.recorded_at)
        }

    def rows(self, order_ids: Sequence[str]) -> dict[str, OrderRecord]:
        """Return the rows of orders that are of our source, by order id."""
        query = select(orders.c.entry_id).where(one_of(orders.c.order_id, order_ids), self._ours)
        with self._database.transaction() as connection:
            owners = connection.scalars(query).all()
        return {row.order_id: row for row in self.rows_of_entries(owners).values()}

    def alone(self) -> bool:
        """Whether no other source than ours was ever seen in this database."""
        return self._sources.alone()

    def streams_lately(self) -> int:
        """Return how many streams were worked on as our source in the last minute, and may still be."""
        return self._sources.streams_lately()

    def of_other_sources(self, order_ids: Sequence[str]) -> set[str]:
        """Return those of the orders whose rows are of other sources."""
        if not order_ids:
            return set()
        query = select(orders.c.order_id).where(one_of(orders.c.order_id, order_ids), ~self._ours)
        with self._database.transaction() as connection:
            return set(connection.scalars(query))

    def rows_of_entries(self, entry_ids: Sequence[str]) -> dict[str, OrderRecord]:
        """Return the rows that entries own, by entry id."""
        return self._rows.find(entry_ids) if entry_ids else {}

    def recorded(self, after: Owner, until: datetime, count: int) -> list[Owner]:
        """Return the first rows with an outcome recorded after one and up to a time, the oldest first."""
        query = (
            select(orders.c.recorded_at, orders.c.entry_id)
            .where(tuple_(orders.c.recorded_at, orders.c.entry_id) > (after.recorded_at, after.entry_id))
            .where(orders.c.recorded_at <= until, orders.c.status != Status.SUBMITTED, self._ours)
            .order_by(orders.c.recorded_at, orders.c.entry_id)
            .limit(count)
        )
        with self._database.transaction() as connection:
            return [Owner(*row) for row in connection.execute(query)]
