"""What people and pages ask the database; reads only."""

from datetime import datetime
from decimal import Decimal

from msgspec import Struct
from sqlalchemy import func, select, text

from worker.store.engine import Database
from worker.store.tables import orders, trades

# Beyond this a count would cost more than anybody learns from it; PostgreSQL's own book is close enough.
EXACT_COUNT_LIMIT = 10_000
_LIVE_ROWS = text("SELECT n_live_tup FROM pg_stat_user_tables WHERE relid = to_regclass(:name)")


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
    error_message: str | None
    executed_at: datetime


class OrderRow(Struct, frozen=True):
    """What the life of one order shows of its row."""

    order_id: str
    entry_id: str
    status: str
    filled_quantity: Decimal
    error_message: str | None
    executed_at: datetime
    recorded_at: datetime


class StoreState(Struct, frozen=True):
    """The database of one deployment. Counts above 10,000 are PostgreSQL's own estimate."""

    version: str
    orders: int
    trades: int
    counts_exact: bool


class StoreInspector:
    """Asks PostgreSQL about the rows. Raises Outage where it does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def recent(self, limit: int) -> list[RecentOrder]:
        """Return the rows recorded last, newest first."""
        columns = [orders.c[name] for name in RecentOrder.__struct_fields__]
        query = select(*columns).order_by(orders.c.recorded_at.desc(), orders.c.entry_id.desc()).limit(limit)
        with self._database.transaction() as connection:
            return [RecentOrder(*row) for row in connection.execute(query)]

    def row(self, identifier: str) -> OrderRow | None:
        """Return the row of this order id, else the row that this entry owns."""
        columns = [orders.c[name] for name in OrderRow.__struct_fields__]
        with self._database.transaction() as connection:
            for key in (orders.c.order_id, orders.c.entry_id):
                found = connection.execute(select(*columns).where(key == identifier)).first()
                if found is not None:
                    return OrderRow(*found)
        return None

    def state(self) -> StoreState:
        """Return how many rows there are; bounded in cost however many that is."""
        with self._database.transaction() as connection:
            version = connection.scalar(text("SHOW server_version"))
            counts = {}
            exact = True
            for table in (orders, trades):
                some = select(table.c.order_id).limit(EXACT_COUNT_LIMIT + 1).subquery()
                count = connection.scalar(select(func.count()).select_from(some)) or 0
                if count > EXACT_COUNT_LIMIT:
                    exact = False
                    count = max(count, connection.scalar(_LIVE_ROWS, {"name": table.name}) or 0)
                counts[table.name] = count
        return StoreState(str(version).partition(" ")[0], counts["orders"], counts["trades"], exact)
