"""The way to PostgreSQL: one engine per use, errors told apart by what the worker does about them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg import Error, OperationalError
from psycopg.sql import Literal
from sqlalchemy import Connection, Dialect, Table, create_engine, event, text
from sqlalchemy.exc import DBAPIError, NotSupportedError, SQLAlchemyError

from worker.domain.endpoints import Endpoint
from worker.domain.errors import AccessDenied, Outage, Refused, RowRefused
from worker.store.address import address
from worker.store.failures import ended_in_time, is_of_the_rows, outages, reason_of
from worker.store.fidelity import guarded
from worker.store.following import follow
from worker.store.options import search_path
from worker.store.silence import SilenceGuard

CONNECT_TIMEOUT_S = 3
SERVER_SHARE = 0.9
# What no URL replaces.
_OURS = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    # With the start of the session, since the driver has to know it; a pooler keeps it for its client. A
    # database in another encoding converts, and refuses what it can't hold.
    "client_encoding": "UTF8",
    # A plan that is kept stays what it was when the tables were small: the inbox would be read from end to
    # end for each batch. And a pooler may have given the plan to somebody else.
    "prepare_threshold": None,
}
# The SQLSTATE of a write where none is possible.
_READ_ONLY = "25006"

# READ COMMITTED: after ON CONFLICT has waited for another's row, the next statement must see it.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"

# None of the first three runs while the server waits for the rest of what a vanished sender had begun to
# send: it would hold the locks on its rows until TCP gives up, hours later. So TCP gets a limit, and from 17
# on the whole transaction, which helps where the sender's machine is still there. Against rows that are
# awaited by COPY only `end_stalled_copies` does. Seqscan: every statement has an index for its rows. The
# check of a foreign key keeps its plan as long as the session lives; one made while the table was small would
# read all of it for each trade, until somebody analyzes the table again. Jit: before 18 whatever has no index
# (a catalogue's few rows) counts as dear then, and is compiled for a second first.
_SETTINGS = (
    "SET LOCAL statement_timeout = {limit_ms}; SET LOCAL lock_timeout = {limit_ms};"
    " SET LOCAL idle_in_transaction_session_timeout = {limit_ms}; SET LOCAL tcp_user_timeout = {limit_ms};"
    " SET LOCAL tcp_keepalives_idle = {silence_s}; SET LOCAL tcp_keepalives_interval = {silence_s};"
    " SET LOCAL tcp_keepalives_count = 3; SET LOCAL enable_seqscan = off; SET LOCAL jit = off"
)
# Tables are where role, database and URL say, which a session is reset to. Behind a pooler somebody may have
# left it another path, under which the inbox would be another table.
_PLACE = "SET LOCAL search_path TO DEFAULT"
# A pooler may not hand on what the URL says of it.
_PLACE_OF_THE_URL = "SELECT set_config('search_path', {}, true)"
# What text, numbers, times and backslashes mean, in both directions. A role, a database, a pooler or the
# environment of the process may say otherwise; the driver can't read times but in ISO, and hands them out in
# the session's zone.
_MEANING = (
    "SET LOCAL datestyle = 'ISO, MDY'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL timezone = 'UTC';"
    " SET LOCAL bytea_output = 'hex'; SET LOCAL standard_conforming_strings = on;"
    " SET LOCAL extra_float_digits = 1"
)
# The key of a connection's own beginning.
_OF_THE_CONNECTION = "beginning"
# The limit of a role or database runs already, and another value does not begin it anew: the 0 ends it first.
# Found out once for each connection, not by the version: others that speak as PostgreSQL does call themselves
# what they like.
_BOUNDED = "SET LOCAL transaction_timeout = 0; SET LOCAL transaction_timeout = {limit_ms}"
_KNOWS_THE_BOUND = "SELECT current_setting('transaction_timeout', true) IS NOT NULL"

# A migration asks for its lock again and again instead of waiting for it: whoever comes later waits behind
# one that waits.
LOCK_WAIT_MS = 200
# Its sender may vanish, or be stopped, with a lock in its hands. Time limits that a role or database has set
# are not for it.
_MIGRATION_SETTINGS = (
    "SET LOCAL lock_timeout = {lock_ms}; SET LOCAL idle_in_transaction_session_timeout = {idle_ms};"
    " SET LOCAL tcp_keepalives_idle = 10; SET LOCAL tcp_keepalives_interval = 10;"
    " SET LOCAL tcp_keepalives_count = 3;"
    " SELECT set_config(name, '0', true) FROM pg_settings"
    " WHERE name IN ('statement_timeout', 'transaction_timeout')"
)

# The second takes whatever bytes it is sent, and gives them back: those of UTF-8, as long as nobody else
# writes others.
_HOLD_ALL_TEXT = {"UTF8", "SQL_ASCII"}

# As much of a statement as any server shows of it.
_SHOWN = 64
_STALLED_COPIES = text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
    " AND usename = session_user AND state = 'active' AND wait_event = 'ClientRead'"
    " AND left(query, :shown) = ANY(:beginnings)"
    " AND query_start < clock_timestamp() - make_interval(secs => :limit_s)"
)


class Database:
    """Short transactions on one pool of connections; every failure is an Outage or a RowRefused."""

    def __init__(
        self,
        place: Endpoint | str,
        *,
        transaction_timeout_s: float,
        pool_size: int,
        application_name: str,
    ) -> None:
        self._endpoint = place if isinstance(place, Endpoint) else Endpoint.fixed(place)
        # The server gives up first, so that its reason is heard; the guard is for one that says nothing.
        limit_ms = int(transaction_timeout_s * SERVER_SHARE * 1000)
        self._limit_s = limit_ms / 1000
        limits = {"limit_ms": limit_ms, "silence_s": max(1, int(transaction_timeout_s / 4))}
        self._beginning = f"{_BEGIN}; {_MEANING}; {_SETTINGS}".format(**limits)
        self._bounded = _BOUNDED.format(**limits)
        self._guard = SilenceGuard(transaction_timeout_s)
        ours = {**_OURS, "application_name": application_name}
        self._engine = create_engine(
            address(self._endpoint.url()),
            # The driver is to begin nothing by itself: that takes a round trip for each transaction.
            isolation_level="AUTOCOMMIT",
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=CONNECT_TIMEOUT_S,
            hide_parameters=True,
            use_native_hstore=False,
            connect_args=ours,
        )
        _limit_first_questions(self._engine.dialect, self._guard)
        # How often it has connected.
        self.connections = 0
        event.listen(self._engine, "connect", self._count)
        event.listen(self._engine, "do_execute", _copy_in)
        follow(self._engine, self._endpoint, address, ours)

    def _count(self, _connection: object, _record: object) -> None:
        self.connections += 1

    @contextmanager
    def transaction(self, *, guard: str | None = None) -> Iterator[Connection]:
        """Run the block in one transaction, committed at its end, within the transaction timeout.

        What the server is told for it is told inside of it, where no pooler can lose it; the guard ends it
        from here. After an Outage its effect is unknown: the connection may have died while it was being
        committed. `guard` is a statement of `fidelity` that has its turn right before the commit, and may
        prevent it: Suspected.
        """
        with (
            self._leaving(),
            outages(),
            self._engine.connect() as connection,
            ended_in_time(self._limit_s),
            _given_up_in_an_outage(connection),
            self._guard.watch(_driver(connection).fileno()),
            connection.begin(),
        ):
            self._begin(connection)
            yield connection
            if guard is not None:
                _commit(connection, guard)

    def _begin(self, connection: Connection) -> None:
        beginning = connection.info.get(_OF_THE_CONNECTION)
        if beginning is None:
            parts = [self._beginning, _place(connection)]
            if connection.exec_driver_sql(_KNOWS_THE_BOUND).scalar_one():
                parts.append(self._bounded)
            beginning = connection.info[_OF_THE_CONNECTION] = "; ".join(parts)
        # Without parameters: all of it at once, and no rows to be read.
        connection.exec_driver_sql(beginning)

    def end_stalled_copies(self, statements: Iterable[str]) -> int:
        """End the sessions that have awaited rows of these statements for longer than a transaction may take.

        Return how many. Their senders were stopped in the middle of a copy, or have vanished; the rows of
        theirs that are there already would keep everybody waiting who is to write the same.
        """
        beginnings = [statement[:_SHOWN] for statement in statements]
        with _expecting_an_answer(), self.transaction() as connection:
            ended = connection.execute(
                _STALLED_COPIES, {"shown": _SHOWN, "beginnings": beginnings, "limit_s": self._limit_s}
            )
            return int(ended.scalar_one())

    @contextmanager
    def session(self, *, idle_limit_ms: int) -> Iterator[Connection]:
        """Yield a connection for migrations, which begin and end their transactions by themselves.

        None of these waits longer than LOCK_WAIT_MS for a lock: it may be one that everybody has to wait
        behind. Nor may one pause for longer than `idle_limit_ms`, 0 for ever. All else takes the time it
        takes.
        """
        with self._leaving(), outages(), self._engine.connect() as connection:
            connection.execution_options(isolation_level="READ COMMITTED")
            limits = _MIGRATION_SETTINGS.format(lock_ms=LOCK_WAIT_MS, idle_ms=idle_limit_ms)
            beginning = f"{_MEANING}; {_place(connection)}; {limits}"

            def begin(begun: Connection) -> None:
                # Without a transaction there is nothing that could be local to it.
                if begun.get_execution_options()["isolation_level"] != "AUTOCOMMIT":
                    begun.exec_driver_sql(beginning)

            event.listen(connection, "begin", begin)
            yield connection

    def partial_encoding(self) -> str | None:
        """Return the encoding of the database where it can't hold all text."""
        with self.transaction() as connection:
            encoding = str(connection.scalar(text("SHOW server_encoding")))
        return None if encoding in _HOLD_ALL_TEXT else encoding

    def ping(self) -> None:
        """Return when PostgreSQL answers a query; raises Outage otherwise."""
        with _expecting_an_answer(), self.transaction():
            pass

    def whereabouts(self) -> str:
        """Return host, port and database that sessions lead to, without user or password. Raises Outage."""
        with self.transaction() as connection:
            info = _driver(connection).info
            return f"{info.host}:{info.port}/{info.dbname}"

    def require_writes(self) -> None:
        """Return if PostgreSQL takes writes; raises Outage otherwise, as where this was the primary once."""
        with _expecting_an_answer(), self.transaction() as connection:
            if connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on":
                raise Outage("postgresql", f"{_READ_ONLY}: its sessions are read-only")

    def reconnect(self) -> None:
        """Have every connection to this server made anew, those of other pools in this process, too."""
        self._endpoint.leave()

    @contextmanager
    def _leaving(self) -> Iterator[None]:
        """Leave the place where its server takes no writes, or does not know us."""
        since = self._endpoint.departures
        try:
            yield
        except Outage as outage:
            if isinstance(outage, AccessDenied) or _READ_ONLY in outage.reason:
                self._endpoint.leave(since)
            raise

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()
        self._guard.close()


def copying(table: Table, columns: Sequence[str]) -> str:
    """Return the statement that reads rows as `copy` sends them."""
    names = ", ".join(columns)
    return f"COPY {table.name} ({names}) FROM STDIN (FORMAT csv, NULL 'null', ESCAPE '\\', ENCODING 'UTF8')"


def copy(connection: Connection, statement: str, lines: bytes) -> int:
    """Send rows of a statement of `copying`, and return how many were stored.

    Raises RowRefused where COPY is not possible on this table, too.
    """
    try:
        return connection.exec_driver_sql(statement, (lines,)).rowcount
    except NotSupportedError as error:
        # Row-level security has no COPY.
        raise RowRefused(reason_of(error)) from error


def _copy_in(cursor: Any, statement: str, parameters: Any, _context: Any) -> bool:  # noqa: ANN401  psycopg's
    # Within SQLAlchemy, and so within its way to tell errors apart, to notice lost connections, to show
    # statements.
    if not statement.startswith("COPY "):
        return False
    try:
        with cursor.copy(statement) as rows:
            rows.write(parameters[0])
    except UnicodeError:
        raise
    except ValueError as error:
        # PgBouncer adds an error of its own to the one that has ended the session, and here the driver takes
        # one alone: neither is heard.
        cursor.connection.close()
        raise OperationalError("the session has ended") from error
    return True


def _commit(connection: Connection, guard: str) -> None:
    # In one exchange, past SQLAlchemy, which takes four times as long for it. The commit that it does next
    # finds nothing open.
    driver = _driver(connection)
    try:
        with guarded():
            driver.execute(f"{guard}; COMMIT")
    except Error as error:
        is_over = driver.closed
        if is_over:
            connection.invalidate()
        raise DBAPIError.instance(guard, None, error, Error, connection_invalidated=is_over) from error


def _limit_first_questions(dialect: Dialect, guard: SilenceGuard) -> None:
    """Have the guard watch what SQLAlchemy asks a server on the first connection, as that is made.

    By then libpq's own limit is over, and a transaction's has not begun.
    """
    ask = dialect.initialize

    def ask_in_time(connection: Connection) -> None:
        with guard.watch(_driver(connection).fileno()):
            ask(connection)

    dialect.initialize = ask_in_time  # type: ignore[method-assign]


@contextmanager
def _expecting_an_answer() -> Iterator[None]:
    """Take a refusal of what asks for nothing in particular for an outage: no row can be at fault."""
    try:
        yield
    except Refused as refused:
        raise Outage("postgresql", str(refused)) from refused


@contextmanager
def _given_up_in_an_outage(connection: Connection) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        if is_of_the_rows(error):
            raise
        # A session keeps what its role or database had set when it began: one that began while the database
        # was read-only stays so, and one of a primary that was demoted stays there.
        connection.invalidate()
        raise


def _place(connection: Connection) -> str:
    named = search_path(_driver(connection).info.options)
    if named is None:
        return _PLACE
    # The literal means the same whatever the session says of backslashes.
    return _PLACE_OF_THE_URL.format(Literal(named).as_string())


def _driver(connection: Connection) -> Any:  # noqa: ANN401  SQLAlchemy does not say which driver
    driver_connection = connection.connection.driver_connection
    if driver_connection is None:
        raise Outage("postgresql", "the connection is gone")
    return driver_connection
