"""PostgreSQL as the benchmark uses it: one database, empty or with rows already, over our one connection."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from benchmarks.errors import NoFigure
from worker.bootstrap import commands
from worker.settings import read_settings

OURS = "benchmarks"
# Rows that were there before a run are older, which also keeps a worker's own repair off them.
OF_RUN = "recorded_at > now() - interval '1 day'"

_FILL = """
INSERT INTO orders (order_id, entry_id, fingerprint, status, executed_at, recorded_at, symbol, side, quantity,
    stop_loss_pct, signal_id, reason, "timestamp", strategy_id, client_id, filled_quantity, average_price)
SELECT md5(number::text), '1-' || number, '\\x01'::bytea || sha256(number::text::bytea), 'FILLED',
    now() - interval '30 days', now() - interval '30 days', 'ETHUSDT', 'BUY', 0.0322836623361362,
    0.02, number::text, 'momentum -1.14%% over 15m', number::text, 'meanrev_v2', 'ETHUSDT-' || number,
    0.0322836623361362, 3900.8775
FROM generate_series(1, %s) AS number
"""
_INDEXES = """
SELECT conname, pg_get_constraintdef(oid), conrelid::regclass::text FROM pg_constraint
WHERE conrelid IN ('orders'::regclass, 'trades'::regclass) AND contype IN ('p', 'u', 'f')
    AND (conrelid = 'orders'::regclass OR contype = 'f')
ORDER BY contype = 'f', contype = 'u'
"""
_CONSTRAINTS = """
SELECT conname, pg_get_constraintdef(oid), conrelid::regclass::text FROM pg_constraint
WHERE conrelid IN ('orders'::regclass, 'trades'::regclass) AND contype::text = ANY(%s)
"""


class Tables:
    """The worker's tables in a database of their own, brought up to date when they are opened."""

    def __init__(self, server_url: str, name: str, redis_url: str) -> None:
        """Make the database and its tables."""
        with _connected(server_url) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        self.url = urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
        commands.migrate(read_settings({"REDIS_URL": redis_url, "DATABASE_URL": self.url}))
        self._connection = _connected(self.url)
        self._held = 0

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    @property
    def version(self) -> str:
        """The version of the server."""
        return self.setting("server_version").split()[0]

    @contextmanager
    def statements_logged(self) -> Iterator[None]:
        """Have the server log each statement of new connections, with how long it took."""
        name = self._one("SELECT current_database()")
        change = sql.SQL("ALTER DATABASE {} {} log_min_duration_statement").format
        self._connection.execute(change(sql.Identifier(name), sql.SQL("SET")) + sql.SQL(" = 0"))
        try:
            yield
        finally:
            self._connection.execute(change(sql.Identifier(name), sql.SQL("RESET")))

    @contextmanager
    def without(self, kinds: Iterable[str]) -> Iterator[None]:
        """Have the tables lack constraints of these kinds, as pg_constraint spells them.

        Afterwards they are made again, and have to hold for what was written meanwhile.
        """
        found = self._connection.execute(_CONSTRAINTS, [list(kinds)]).fetchall()
        for name, _, table in found:
            self._alter(table, sql.SQL("DROP CONSTRAINT {}").format(sql.Identifier(name)))
        try:
            yield
        finally:
            for name, definition, table in found:
                added = sql.SQL("ADD CONSTRAINT {} {}").format(sql.Identifier(name), sql.SQL(definition))
                self._alter(table, added)

    def setting(self, name: str) -> str:
        """Return a setting of the server."""
        return self._one("SELECT current_setting(%s)", name)

    def fill(self, rows: int) -> None:
        """Have the table of orders hold so many rows already, under ids that new ones fall anywhere between.

        Indexes are dropped for it and built again, which takes a fraction of the time.
        """
        indexes = self._connection.execute(_INDEXES).fetchall()
        for name, _, table in reversed(indexes):
            self._alter(table, sql.SQL("DROP CONSTRAINT {}").format(sql.Identifier(name)))
        self._connection.execute(_FILL, [rows])
        for name, definition, table in indexes:
            added = sql.SQL("ADD CONSTRAINT {} {}").format(sql.Identifier(name), sql.SQL(definition))
            self._alter(table, added)
        self._connection.execute("VACUUM ANALYZE orders")
        self._held = rows

    def clear(self) -> None:
        """Remove what runs have left."""
        if self._held:
            self._connection.execute(
                "DELETE FROM trades WHERE order_id IN"  # noqa: S608  ours
                f" (SELECT order_id FROM orders WHERE {OF_RUN})"
            )
            self._connection.execute(f"DELETE FROM orders WHERE {OF_RUN}")  # noqa: S608  ours
            self._connection.execute("VACUUM orders, trades")
        else:
            self._connection.execute("TRUNCATE orders, trades")

    def checkpoint(self) -> None:
        """Write down everything that is only in memory yet."""
        self._connection.execute("CHECKPOINT")

    def rows(self) -> tuple[int, int]:
        """Return how many rows of orders the last run has left, and how many of them say FILLED."""
        counts = (
            "SELECT count(*), count(*) FILTER (WHERE status = 'FILLED')"  # noqa: S608  ours
            f" FROM orders WHERE {OF_RUN}"
        )
        rows, filled = self._row(counts)
        return int(str(rows)), int(str(filled))

    def trades(self) -> int:
        """Return how many rows of trades there are."""
        return int(self._one("SELECT count(*) FROM trades"))

    def strangers(self) -> list[str]:
        """Return who is connected to the server besides us, whatever the database."""
        found = self._connection.execute(
            "SELECT application_name, pid FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND application_name <> %s",
            [OURS],
        )
        return [f"pid {pid} {name or '(no name)'} on PostgreSQL" for name, pid in found]

    def _alter(self, table: str, change: sql.Composable) -> None:
        self._connection.execute(sql.SQL("ALTER TABLE {} {}").format(sql.Identifier(table), change))

    def _one(self, query: str, *arguments: str) -> str:
        return str(self._row(query, *arguments)[0])

    def _row(self, query: str, *arguments: str) -> Sequence[object]:
        row = self._connection.execute(query.encode(), arguments or None).fetchone()
        if row is None:
            raise NoFigure(f"PostgreSQL has no answer to: {query}")
        return row


def round_trip_ms(url: str, count: int = 51) -> float:
    """Return the median round trip of an empty query by that URL."""
    with closing(_connected(url)) as connection:
        took = []
        for _ in range(count):
            began = time.perf_counter()
            connection.execute("")
            took.append(time.perf_counter() - began)
    return sorted(took)[count // 2] * 1000


def _connected(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True, application_name=OURS)
