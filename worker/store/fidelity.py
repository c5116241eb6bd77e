"""Whether what is written is stored as it was written.

Others may have given our tables triggers, or columns other types.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

import structlog
from msgspec.structs import asdict
from psycopg.errors import DivisionByZero
from sqlalchemy import BigInteger, Connection, Date, DateTime, LargeBinary, Numeric, Select, Text, text

from worker.domain.errors import AccessDenied, Outage
from worker.domain.orders import OrderRecord
from worker.store.found import Found, rows_where
from worker.store.tables import metadata, orders
from worker.store.unseen import guarded_on

log = structlog.get_logger(__name__)

# Of these the row that stands tells; the rest says how a record was found, or what it replays.
_STORED = set(OrderRecord.__struct_fields__) - {"replay_of", "unsourced", "stranger"}
_OUTCOME = {
    "status", "executed_at", "filled_quantity", "average_price", "error_message", "dead_reason", "trades",
}  # fmt: skip

_TRIGGERS = (
    "FROM pg_trigger WHERE tgrelid = ANY('{orders,trades}'::regclass[]) AND NOT tgisinternal"
    " AND tgenabled <> 'D' AND tgtype & 20 <> 0"
)
# A statement that fails where there is a trigger for inserts or updates, and costs no exchange of its own: it
# is sent with the COMMIT. By then our rows are written, and nobody can make a trigger until they are
# committed.
GUARD = f"SELECT 1 / (tgtype * 0) {_TRIGGERS}"

_TYPES = {
    Text: "text", Numeric: "numeric", DateTime: "timestamp with time zone", LargeBinary: "bytea",
    Date: "date", BigInteger: "bigint",
}  # fmt: skip
_columns = ", ".join(
    f"('{table.name}', '{column.name}', '{_TYPES[type(column.type)]}')"
    for table in metadata.sorted_tables
    for column in table.columns
)
_suspects = text(
    f"SELECT format('trigger %s on %s', tgname, tgrelid::regclass) {_TRIGGERS}"  # noqa: S608  names of ours
    " UNION ALL SELECT format('rule %s on %s', rulename, ev_class::regclass) FROM pg_rewrite"
    " WHERE ev_class = ANY('{orders,trades}'::regclass[]) AND ev_type IN ('2', '3') AND ev_enabled <> 'D'"
    " UNION ALL SELECT format('type %s of column %s.%s', format_type(atttypid, atttypmod), here, attname)"
    f" FROM (VALUES {_columns}) AS made (here, name, type) JOIN pg_attribute ON attrelid = to_regclass(here)"
    " AND attname = name WHERE NOT attisdropped AND (atttypid <> type::regtype OR atttypmod <> -1) ORDER BY 1"
)


class Suspected(Outage):
    """The transaction was not committed: somebody has given our tables triggers meanwhile."""

    def __init__(self) -> None:
        super().__init__("postgresql", "the tables have got triggers")


@contextmanager
def guarded() -> Iterator[None]:
    """Translate what GUARD raises."""
    try:
        yield
    except DivisionByZero as error:
        raise Suspected from error


def suspects_on(connection: Connection) -> list[str]:
    """Return what may change or swallow rows on their way into our tables, by name."""
    return list(connection.scalars(_suspects))


class Fidelity:
    """Counts rows that are written, and reads them back where something may change them.

    What differs is an Outage. All orders wait then for a person: what is wrong is the table, no order.
    """

    def __init__(self) -> None:
        self.suspects: list[str] = []

    @property
    def guard(self) -> str | None:
        """What has to be true for a commit unless rows are read back."""
        return None if self.suspects else GUARD

    def look(self, connection: Connection) -> None:
        """Find out, within a transaction, whether rows have to be read back."""
        found = suspects_on(connection)
        if found and found != self.suspects:
            log.warning("rows are read back, since they may be stored otherwise than written", by=found)
        self.suspects = found

    def count(self, connection: Connection, stored: int, sent: int, of: str) -> None:
        """Raise Outage where fewer rows were stored than sent."""
        if stored != sent:
            self.refuse(connection, f"{stored} of {sent} rows of {of} were stored")

    def written(
        self, connection: Connection, returned: Iterable[str], records: Iterable[OrderRecord]
    ) -> set[str]:
        """Return the entry ids of the rows a statement has written; raises Outage if one is of no record."""
        written = set(returned)
        if written - {record.entry_id for record in records}:
            self.refuse(connection, "a row was stored with another entry id")
        return written

    def compare(
        self, connection: Connection, records: Sequence[OrderRecord], source: str, *, outcomes: bool = False
    ) -> None:
        """Raise Outage where a row, or its outcome, does not stand as the record that was written."""
        if not self.suspects or not records:
            return
        # Triggers that wait for the commit have their turn now.
        connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
        standing = rows_where(connection, orders.c.order_id.in_([each.order_id for each in records]))
        by_order = {each.row.order_id: each for each in standing}
        for record in records:
            differing = _differing(record, by_order.get(record.order_id), source, outcomes=outcomes)
            if differing:
                self.refuse(
                    connection, f"order {record.order_id} is stored otherwise ({', '.join(differing)})"
                )
        self.look(connection)

    def none_left(
        self, connection: Connection, left: Select[str], asked: Mapping[str, object], *, updated: bool
    ) -> None:
        """Raise AccessDenied where a row that was to be updated still is as it was.

        It is asked about where not all were `updated`: others may have been there before us, or the
        database has kept a row from us without an error.
        """
        if updated and not self.suspects:
            return
        if (order_id := connection.scalar(left, asked)) is not None:
            raise denied(connection, not_updated(order_id))

    def refuse(self, connection: Connection, what: str) -> NoReturn:
        """Raise Outage, with the names of what may be the reason."""
        raise Outage("postgresql", _why(connection, what))


def denied(connection: Connection, what: str) -> AccessDenied:
    """Return what to raise where the database has kept a row from us without an error, and who may have."""
    return AccessDenied("postgresql", _why(connection, what))


def not_updated(order_id: str) -> str:
    """Return what to say of a row that could be updated and was not."""
    return f"the row of order {order_id} was not updated"


def _why(connection: Connection, what: str) -> str:
    """Return what went wrong, with the names of what may be the reason."""
    by = [*suspects_on(connection), *guarded_on(connection)]
    return f"{what}: {', '.join(by) or 'by what, is not known'}"


def _differing(record: OrderRecord, found: Found | None, source: str, *, outcomes: bool) -> list[str]:
    if found is None:
        return ["it is not there"]
    meant, stands = (_comparable(each) for each in (record, found.row))
    names = _OUTCOME if outcomes else _STORED
    differing = [name for name in meant if name in names and meant[name] != stands[name]]
    return differing if found.source == source or outcomes else [*differing, "source"]


def _comparable(record: OrderRecord) -> dict[str, object]:
    # Collations of the database may put trades in another order.
    trades_by_id = sorted(record.trades, key=lambda trade: trade.trade_id)
    return asdict(record) | {"trades": trades_by_id}
