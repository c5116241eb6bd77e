"""What people and pages ask the database; reads only."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any

import structlog
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, Numeric, and_, cast, func, select, text

from worker.domain.database_state import Outcomes, TablesState, Took
from worker.domain.errors import Refused
from worker.domain.fleets import Fleet, Stranger
from worker.domain.orders import OrderRecord
from worker.store.engine import Database
from worker.store.fidelity import suspects_on
from worker.store.found import rows_where
from worker.store.sources import is_alone, publishing_here
from worker.store.tables import UNSOURCED, metadata, of_source, orders, trades
from worker.store.unseen import unseen_on

log = structlog.get_logger(__name__)

# Beyond this a count would cost more than anybody learns from it; PostgreSQL's own book is close enough.
EXACT_COUNT_LIMIT = 10_000
# Of the last hour so many rows are counted, the newest: one range of the index on recorded_at.
MOST_OUTCOMES = 100_000
# Of the last minute so many rows are timed, the newest: a short range of the same index.
MOST_TIMED = 200
_IDS = "^[0-9]{1,20}-[0-9]{1,20}$"
# The first follows every insert and is lost in a crash, the second is as old as the last analyze and survives
# it.
_LIVE_ROWS = text(
    "SELECT greatest(s.n_live_tup, c.reltuples::bigint) FROM pg_class c"
    " JOIN pg_stat_user_tables s ON s.relid = c.oid WHERE c.oid = to_regclass(:name)"
)
# Settings also as a role, a database or a pooler has set them for our sessions. A crash of the server empties
# an unlogged table; and of a primary that waits for a standby, who does not wait is not there when it is
# promoted.
_tables = ", ".join(f"to_regclass('{table.name}')" for table in metadata.sorted_tables)
_SERVER = text(
    "SELECT current_setting('server_version'),"  # noqa: S608  names of ours
    " coalesce(string_agg(what, ', ' ORDER BY what), '') FROM ("
    "SELECT name || ' off' FROM unnest(ARRAY['fsync', 'synchronous_commit']) AS name"
    " WHERE current_setting(name) = 'off'"
    " UNION ALL SELECT 'synchronous_commit local' WHERE current_setting('synchronous_commit') = 'local'"
    " AND current_setting('synchronous_standby_names') <> ''"
    " UNION ALL SELECT relname || ' unlogged' FROM pg_class"
    f" WHERE oid IN ({_tables}) AND relpersistence = 'u'"
    ") AS volatile (what)"
)


class RecentOrder(Struct, frozen=True):
    """One row of /orders, newest first."""

    order_id: str
    entry_id: str
    status: str
    symbol: str | None
    side: str | None
    quantity: Decimal | None
    price: Decimal | None
    filled_quantity: Decimal
    average_price: Decimal | None
    strategy_id: str | None
    client_id: str | None
    traceparent: str | None
    error_message: str | None
    executed_at: datetime


class RecentOrders(Struct, frozen=True):
    """What /orders shows, and how many rows beside it hold a value that can't be read.

    The time `infinity` is such a value.
    """

    orders: list[RecentOrder]
    unreadable: int


class OrderRow(Struct, frozen=True):
    """A row with its trades, when it was recorded, and whose it is: empty where it is of before sources."""

    record: OrderRecord
    recorded_at: datetime
    source: str


class StoreInspector:
    """Asks PostgreSQL about the rows. Raises Outage where it does not answer."""

    def __init__(self, database: Database, fleet: Fleet) -> None:
        self._database = database
        self._fleet = fleet
        self._ours = of_source(fleet.source)

    def recent(self, limit: int) -> RecentOrders:
        """Return the rows recorded last, newest first. Those that can't be read are logged and counted."""
        newest = orders.c.recorded_at.desc(), orders.c.entry_id.desc()
        latest = select(orders.c.order_id).where(self._ours).order_by(*newest).limit(limit)
        try:
            return RecentOrders(self._shown(orders.c.order_id.in_(latest), *newest), 0)
        except Refused:
            with self._database.transaction() as connection:
                order_ids = connection.scalars(latest).all()
        readable = []
        for order_id in order_ids:
            try:
                readable += self._shown(orders.c.order_id == order_id)
            except Refused as error:
                log.warning("order not shown", order_id=order_id, reason=str(error))
        return RecentOrders(readable, len(order_ids) - len(readable))

    def _shown(self, where: ColumnElement[bool], *order: ColumnElement[Any]) -> list[RecentOrder]:
        columns = [orders.c[name] for name in RecentOrder.__struct_fields__]
        query = select(*columns).where(where).order_by(*order)
        with self._database.transaction() as connection:
            return [RecentOrder(*row) for row in connection.execute(query)]

    def row(self, identifier: str) -> OrderRow | None:
        """Return the row of this order id, of whichever source, else the row that this entry of ours owns."""
        entry = and_(orders.c.entry_id == identifier, self._ours)
        with self._database.transaction() as connection:
            for asked in (orders.c.order_id == identifier, entry):
                found = sorted(rows_where(connection, asked), key=attrgetter("source"))
                if found:
                    return OrderRow(found[-1].row, found[-1].recorded_at, found[-1].source)
        return None

    def standing(self, order_id: str) -> OrderRecord | None:
        """Return the row that stands for an order which comes now, whichever source it is of."""
        with self._database.transaction() as connection:
            found = rows_where(connection, orders.c.order_id == order_id)
            if not found:
                return None
            others = {each.source for each in found} - {UNSOURCED, self._fleet.source}
            row = found[0].said_by(others, publishing_here(connection, self._fleet, others))
            if row.unsourced and not is_alone(connection, self._fleet):
                row = replace(row, stranger=Stranger(UNSOURCED, publishes_here=False))
            return row

    def state(self) -> TablesState:
        """Return how many rows there are; bounded in cost however many that is."""
        with self._database.transaction() as connection:
            version, volatile = connection.execute(_SERVER).one()
            counts = {}
            exact = True
            for table in (orders, trades):
                some = select(table.c.order_id).limit(EXACT_COUNT_LIMIT + 1).subquery()
                count = connection.scalar(select(func.count()).select_from(some)) or 0
                if count > EXACT_COUNT_LIMIT:
                    exact = False
                    count = max(count, connection.scalar(_LIVE_ROWS, {"name": table.name}) or 0)
                counts[table.name] = count
            suspects, unseen = suspects_on(connection), unseen_on(connection)
            took = self._took(connection)
        short = str(version).partition(" ")[0]
        return TablesState(
            short, volatile, counts["orders"], counts["trades"], exact, tuple(suspects), took, tuple(unseen)
        )

    def _took(self, connection: Connection) -> Took | None:
        """Return how long the newest orders took from entry id to row."""
        at = orders.c.recorded_at
        newest = (
            select(at, orders.c.entry_id)
            .where(at > func.now() - timedelta(minutes=1), at <= func.now(), self._ours)
            .order_by(at.desc())
            .limit(MOST_TIMED)
            .subquery()
        )
        came_ms = cast(func.split_part(newest.c.entry_id, "-", 1), Numeric)
        ms = func.extract("epoch", newest.c.recorded_at) * 1000 - came_ms
        shares = (func.percentile_disc(share).within_group(ms) for share in (0.5, 0.95))
        # Whoever fills the table by hand may have named anything.
        timed = connection.execute(select(*shares).where(newest.c.entry_id.regexp_match(_IDS))).one()
        # Where the clock of Redis is ahead, less than nothing.
        known_ms = [max(0.0, round(float(each), 1)) for each in timed if each is not None]
        return Took(*known_ms) if known_ms else None

    def outcomes(self, pending: Sequence[str]) -> Outcomes:
        """Return what became of the last hour's orders, and what stands of those whose entries are pending.

        An order without an outcome is never acked, so its entry is pending: no index is needed to find it.
        """
        with self._database.transaction() as connection:
            counts = self._last_hour(connection)
            # Not since it was recorded: it is recorded again whenever somebody takes it up.
            age = func.extract("epoch", func.now() - func.min(orders.c.executed_at))
            newest = (
                select(orders.c.recorded_at).where(self._ours).order_by(orders.c.recorded_at.desc()).limit(1)
            )
            still = func.extract("epoch", func.now() - newest.scalar_subquery())
            still_for_s = connection.scalar(select(still))
            found = connection.execute(
                select(func.count(), age, func.min(orders.c.order_id)).where(
                    orders.c.entry_id.in_(pending), orders.c.status == "SUBMITTED", self._ours
                )
            ).one()
        submitted, age_s, one = found
        return Outcomes(
            last_hour=counts,
            all=sum(counts.values()) < MOST_OUTCOMES,
            submitted=submitted,
            oldest_submitted_age_s=None if age_s is None else float(age_s),
            a_submitted=one,
            last_recorded_age_s=None if still_for_s is None else float(still_for_s),
        )

    def _last_hour(self, connection: Connection) -> dict[str, int]:
        newest = (
            select(orders.c.status)
            .where(orders.c.recorded_at >= func.now() - timedelta(hours=1), self._ours)
            .order_by(orders.c.recorded_at.desc())
            .limit(MOST_OUTCOMES)
            .subquery()
        )
        counted = (
            select(newest.c.status, func.count()).group_by(newest.c.status).order_by(func.count().desc())
        )
        return dict(connection.execute(counted).all())
