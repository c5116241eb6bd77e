"""The orders table as inbox and outbox: records executions, finds what stands already."""

from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import NoReturn

import structlog
from msgspec.structs import replace
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from worker.domain.errors import AccessDenied, RowRefused
from worker.domain.fleets import Fleet, Stranger
from worker.domain.orders import OrderRecord
from worker.store import statements
from worker.store.copying import Copying
from worker.store.engine import Database
from worker.store.failures import AlreadyThere, constraint_of
from worker.store.fidelity import Fidelity, Suspected
from worker.store.found import by_entry, rows_where
from worker.store.repeats import Vanished, note_repeated
from worker.store.rows import (
    COPY_ORDERS,
    COPY_TRADES,
    first_of_each_order,
    order_rows,
    trade_rows,
    trades_of,
)
from worker.store.sources import is_alone, publishing_here
from worker.store.tables import OUR_CONSTRAINTS, UNSOURCED, of_source, orders

log = structlog.get_logger(__name__)


# While rows are pruned, or others make triggers.
TRIES = 3


class OrderStore:
    """Rows of orders with their trades.

    Raises Outage (effect unknown, repeatable) or RowRefused (nothing written). What is written belongs to the
    source of the fleet. Rows of before there were sources count as its own.
    """

    def __init__(self, database: Database, fleet: Fleet) -> None:
        self._database = database
        self._fleet = fleet
        self._fidelity = Fidelity()
        self._copying = Copying(self._fidelity, fleet.source)

    def ping(self) -> None:
        """Return when PostgreSQL answers and takes writes; raises Outage otherwise.

        Ends copies of other replicas that have stalled.
        """
        self._database.require_writes()
        ended = self._database.end_stalled_copies((COPY_ORDERS, COPY_TRADES))
        if ended:
            log.warning("ended stalled copies", sessions=ended)
        self.look()

    def look(self) -> None:
        """Find out whether others may change or swallow rows on their way in: then they are read back."""
        with self._database.transaction() as connection:
            self._fidelity.look(connection)

    def reconnect(self) -> None:
        """Have every connection to PostgreSQL made anew before it is used again."""
        self._database.reconnect()

    def record(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        """Write the rows in one transaction and return, in the same places, the row that stands for each.

        That is the record itself (the same object) where it was written, else what stood there before: the
        row of its entry where that is of the same order, else the row of its order, whichever source that is
        of, else the row of its entry. Waits for a transaction of another replica that is writing the same
        order. A replay takes over the row of its order where that is DEAD and belongs to what it replays.
        What was not stored as it is, because of others' triggers or types, is an Outage, and nothing was
        written.
        """
        return self._faithfully(self._record, records)

    def resolve(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        """Write the outcomes of orders in one transaction; return the row that stands for each in its place.

        Only a row that says SUBMITTED and belongs to the same entry gets its outcome (status, time, amounts,
        error, trades; the rest of it stays). That returns the very record; any other row stands as it is and
        is returned.
        """
        return self._faithfully(self._resolve, records)

    def _faithfully(
        self, write: Callable[[Sequence[OrderRecord]], list[OrderRecord]], records: Sequence[OrderRecord]
    ) -> list[OrderRecord]:
        for _ in range(TRIES):
            try:
                return write(records)
            except Suspected:
                self.look()
            except Vanished as vanished:
                log.info("orders are written again", why=vanished.reason)
        return write(records)

    def _record(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        replays = [record for record in records if record.replay_of is not None]
        if not replays:
            # Refused for a row that another replica has just written, or for what it is: inserting it tells.
            with suppress(RowRefused):
                return self._copied(records)
        with self._database.transaction(guard=self._fidelity.guard) as connection:
            taken = self._taken_over(connection, replays) if replays else set[str]()
            new = [record for record in records if record.entry_id not in taken] if taken else records
            rows = order_rows(new, self._fleet.source)
            returned = connection.scalars(statements.insert_orders, {"new_orders": rows})
            written = taken | self._fidelity.written(connection, returned, new)
            return self._with_trades(connection, records, written)

    def _copied(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        if not self._copying.asks:
            with suppress(AlreadyThere):
                return self._copy(records)
            self._copying.asks = True
        return self._copy(records)

    def _copy(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        with self._database.transaction(guard=self._fidelity.guard) as connection:
            written = {record.entry_id for record in self._copying.write(connection, records)}
            return self._standing_for(connection, records, written)

    def _resolve(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        with self._database.transaction(guard=self._fidelity.guard) as connection:
            # Locked in one order everywhere, since an update joins its rows in any: no deadlocks between
            # replicas.
            named = orders.c.order_id.in_([record.order_id for record in records])
            connection.execute(
                select(orders.c.order_id).where(named).order_by(orders.c.order_id).with_for_update()
            )
            asked = {"outcomes": order_rows(records, self._fleet.source)}
            returned = connection.scalars(statements.resolve, asked)
            written = self._fidelity.written(connection, returned, records)
            all_were = len(written) == len(records)
            self._fidelity.none_left(connection, statements.not_resolved, asked, updated=all_were)
            return self._with_trades(connection, records, written, outcomes=True)

    def take_up(self, entry_id: str, *, after_s: float) -> bool:
        """Note in the SUBMITTED row of an entry that it is in our hands from now on; return whether it is.

        It is not where the row was made, or taken up, less than `after_s` seconds ago, or has an outcome by
        now. A row from before the clock of the database was set back counts as made now.
        """
        asked = {"entry": entry_id, "of_source": self._fleet.source, "after": timedelta(seconds=after_s)}
        with self._database.transaction() as connection:
            is_ours = connection.scalars(statements.take_up, asked).first() is not None
            self._fidelity.none_left(connection, statements.not_taken_up, asked, updated=is_ours)
            if not is_ours:
                connection.execute(statements.date_anew, asked)
            return is_ours

    def find(self, entry_ids: Sequence[str]) -> dict[str, OrderRecord]:
        """Ask the inbox: return the rows that these entries own, by entry id.

        A row of before there were sources is among them where our source has none; whether it is ours its
        order id tells, since another fleet may have had an entry of that id.
        """
        with self._database.transaction() as connection:
            # Most of what is asked about owns none, and whole rows, trades beside them, take longer to plan.
            asked = {"entry_ids": list(entry_ids), "source": self._fleet.source}
            owners = connection.scalars(statements.owners, asked).all()
            return by_entry(rows_where(connection, orders.c.order_id.in_(owners)) if owners else [])

    def alone(self) -> bool:
        """Whether no other source than ours was ever seen in this database."""
        with self._database.transaction() as connection:
            return is_alone(connection, self._fleet)

    def _with_trades(
        self,
        connection: Connection,
        records: Sequence[OrderRecord],
        written: Container[str],
        *,
        outcomes: bool = False,
    ) -> list[OrderRecord]:
        """Insert the trades of the records that were written, and return what stands for each record."""
        ours = [record for record in records if record.entry_id in written]
        filled = [record for record in ours if record.trades]
        if filled:
            stored = connection.execute(statements.insert_trades, {"new_trades": trade_rows(filled)}).rowcount
            self._fidelity.count(connection, stored, trades_of(filled), "trades")
        self._fidelity.compare(connection, ours, self._fleet.source, outcomes=outcomes)
        return self._standing_for(connection, records, written)

    def _standing_for(
        self, connection: Connection, records: Sequence[OrderRecord], written: Container[str]
    ) -> list[OrderRecord]:
        """Return each record that was written, and in the place of any other the row that stands for it."""
        others = [record for record in records if record.entry_id not in written]
        standing = self._standing(connection, others) if others else {}
        return [standing.get(id(record), record) for record in records]

    def _taken_over(self, connection: Connection, replays: Sequence[OrderRecord]) -> set[str]:
        # One row can change once in a statement: of several replays in a batch the first on the stream gets
        # it.
        first = first_of_each_order(replays)
        asked = {"replays": order_rows(first, self._fleet.source)}
        taken = self._fidelity.written(connection, connection.scalars(statements.take_over, asked), first)
        all_were = len(taken) == len(first)
        self._fidelity.none_left(connection, statements.not_taken_over, asked, updated=all_were)
        return taken

    def _standing(self, connection: Connection, records: Sequence[OrderRecord]) -> dict[int, OrderRecord]:
        entry_ids = [record.entry_id for record in records]
        order_ids = [record.order_id for record in records]
        ours = of_source(self._fleet.source)
        found = rows_where(
            connection, (orders.c.entry_id.in_(entry_ids) & ours) | orders.c.order_id.in_(order_ids)
        )
        by_entry_id = by_entry(each for each in found if each.source in {UNSOURCED, self._fleet.source})
        others = {each.source for each in found} - {UNSOURCED, self._fleet.source}
        here = publishing_here(connection, self._fleet, others)
        by_order = {each.row.order_id: each.said_by(others, here) for each in found}
        standing = {}
        for record in records:
            owned = by_entry_id.get(record.entry_id)
            same = by_order.get(record.order_id)
            # Of two rows that of the same order, unless content is lacking that could tell.
            told = owned is not None and owned.fingerprint and record.fingerprint
            row = owned if same is None or (owned is not None and not told) else same
            if row is None:
                self._not_stored(connection, record)
            if row.unsourced and row.entry_id != record.entry_id and not is_alone(connection, self._fleet):
                row = replace(row, stranger=Stranger(UNSOURCED, publishes_here=False))
            standing[id(record)] = row
        recorded = {each.row.order_id: each.recorded_at for each in found}
        rows = ((each, standing[id(each)]) for each in records)
        note_repeated(connection, ((each, row, recorded[row.order_id]) for each, row in rows))
        return standing

    def _not_stored(self, connection: Connection, record: OrderRecord) -> NoReturn:
        """Raise RowRefused where a constraint that others have added takes no such row, else Outage.

        That is AccessDenied where the row is hidden from us.
        """
        self._fidelity.look(connection)
        if not self._fidelity.suspects:
            # What ON CONFLICT passes over in silence is said without it, and by which constraint.
            try:
                stored = connection.execute(
                    statements.insert_aloud, {"new_orders": order_rows([record], self._fleet.source)}
                ).rowcount
            except IntegrityError as error:
                if constraint_of(error) not in OUR_CONSTRAINTS:
                    raise
                # Another's policy hides what stands there: no fault of the order.
                raise AccessDenied(
                    "postgresql", f"the row of order {record.order_id} stands, and can't be read"
                ) from error
            if stored:
                # Nothing is in the way any more.
                raise Vanished(record.order_id)
        self._fidelity.refuse(connection, f"the row of order {record.order_id} was not stored")
