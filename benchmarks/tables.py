"""PostgreSQL as the benchmark uses it: one database, empty or with rows already, over our one connection."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
FIRST_DAYS_AGO, SECOND_DAYS_AGO = 30, 20

# Half of them were executed over one day, the other half ten days later; a trade for each.
_FILL = """
INSERT INTO orders (order_id, entry_id, fingerprint, status, executed_at, recorded_at, symbol, side, quantity,
    stop_loss_pct, signal_id, reason, "timestamp", strategy_id, client_id, filled_quantity, average_price,
    source)
SELECT CASE WHEN %(in_order)s THEN 'order:' || lpad(number::text, 9, '0') ELSE md5(number::text) END,
    floor(extract(epoch FROM at) * 1000)::bigint || '-' || number,
    '\\x01'::bytea || sha256(number::text::bytea),
    'FILLED', at, at, 'ETHUSDT', 'BUY', 0.0322836623361362, 0.02, number::text, 'momentum -1.14%% over 15m',
    number::text, 'meanrev_v2', 'ETHUSDT-' || number, 0.0322836623361362, 3900.8775, %(source)s
FROM (
    SELECT number, now() - make_interval(days => CASE WHEN number <= half THEN %(first)s ELSE %(second)s END)
        + interval '1 day' * ((number - 1) %% half) / half AS at
    FROM generate_series(1, %(rows)s) AS number, (SELECT greatest(%(rows)s / 2, 1) AS half) AS halves
) AS each
"""
_FILL_TRADES = """
INSERT INTO trades (order_id, trade_id, quantity, price, commission, executed_at)
SELECT order_id, 'paper-' || entry_id, filled_quantity, average_price, 0.1259, executed_at FROM orders
"""
_INDEXES = """
SELECT conname, pg_get_constraintdef(oid), conrelid::regclass::text FROM pg_constraint
WHERE conrelid IN ('orders'::regclass, 'trades'::regclass) AND contype IN ('p', 'u', 'f')
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
        self._filled: dict[str, object] = {}

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

    def fill(self, rows: int, *, ids_in_order: bool = False, source: str = "") -> None:
        """Have the tables hold so many orders already, each with a trade, and nothing else.

        New ones fall behind them, or anywhere between them. Indexes are dropped for it and built again, which
        takes a fraction of the time. Nothing is done where they hold just that, and what a run has added.
        """
        what = {"rows": rows, "in_order": ids_in_order, "source": source}
        if what == self._filled and not self.pruned():
            return
        self._connection.execute("TRUNCATE orders, trades")
        indexes = self._connection.execute(_INDEXES).fetchall()
        for name, _, table in reversed(indexes):
            self._alter(table, sql.SQL("DROP CONSTRAINT {}").format(sql.Identifier(name)))
        self._connection.execute(_FILL, {**what, "first": FIRST_DAYS_AGO, "second": SECOND_DAYS_AGO})
        self._connection.execute(_FILL_TRADES)
        for name, definition, table in indexes:
            added = sql.SQL("ADD CONSTRAINT {} {}").format(sql.Identifier(name), sql.SQL(definition))
            self._alter(table, added)
        self._connection.execute("VACUUM ANALYZE orders, trades")
        self._filled = what

    def clear(self) -> None:
        """Remove what runs have left, and what was noted of streams that are gone."""
        self._connection.execute("TRUNCATE order_sources, order_prunings")
        if self._filled:
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
        """Return how many rows of trades the last run has left."""
        of_run = f" JOIN orders USING (order_id) WHERE {OF_RUN}" if self._filled else ""
        return int(self._one(f"SELECT count(*) FROM trades{of_run}"))  # noqa: S608  ours

    def pruned(self) -> int:
        """Return how many rows the run has let go."""
        return int(self._one("SELECT coalesce(sum(orders), 0) FROM order_prunings"))

    def sizes_mb(self) -> dict[str, float]:
        """Return what each table takes with its indexes, and the log so far, in MB."""
        sizes = "SELECT pg_total_relation_size(%s::regclass) / 1e6"
        log = "SELECT (pg_current_wal_lsn() - '0/0') / 1e6"
        named = {name: float(self._one(sizes, name)) for name in ("orders", "trades")}
        return {**named, "log": float(self._one(log))}

    def vacuumed(self) -> tuple[int, int]:
        """Return how often the server has vacuumed the tables by itself, and how many rows are dead."""
        query = "SELECT sum(autovacuum_count), sum(n_dead_tup) FROM pg_stat_user_tables"
        times, dead = self._row(f"{query} WHERE relname IN ('orders', 'trades')")
        return int(str(times)), int(str(dead))

    def waits_for_locks_ms(self) -> float:
        """Return for how long whoever waits longest for a lock now has waited; 0 where nobody does."""
        longest = "coalesce(extract(epoch FROM max(clock_timestamp() - waitstart)), 0)"
        return float(self._one(f"SELECT {longest} * 1000 FROM pg_locks WHERE NOT granted"))  # noqa: S608  ours

    @contextmanager
    def configured(self, settings: Mapping[str, str]) -> Iterator[None]:
        """Have the server go by settings that it can change while it runs."""
        change = sql.SQL("ALTER SYSTEM {} {}").format
        for name, value in settings.items():
            self._connection.execute(
                change(sql.SQL("SET"), sql.Identifier(name)) + sql.SQL(" = {}").format(value)
            )
        self._connection.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            for name in settings:
                self._connection.execute(change(sql.SQL("RESET"), sql.Identifier(name)))
            self._connection.execute("SELECT pg_reload_conf()")

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
