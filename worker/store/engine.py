"""The way to PostgreSQL: one engine per use, errors told apart by what the worker does about them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Table, create_engine, event, text
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    SQLAlchemyError,
)

from worker.domain.errors import AccessDenied, Outage, RowRefused
from worker.store.address import address
from worker.store.silence import SilenceGuard

CONNECT_TIMEOUT_S = 3
SERVER_SHARE = 0.9

# While connecting libpq hands on the server's words but not its code.
_REFUSALS = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "permission denied",
)

# READ COMMITTED: after ON CONFLICT has waited for another's row, the next statement must see it.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"

# None of the first three runs while the server waits for the rest of what a vanished sender had begun to send: it would hold
# the locks on its rows until TCP gives up, hours later. So TCP gets a limit, and from 17 on the whole transaction, which
# helps where the sender's machine is still there. Against rows that are awaited by COPY only `end_stalled_copies` does.
# Time zone: the driver hands times out in that of the session, which a role or database may have set, and pages show them.
# Seqscan: every statement has an index for its rows. The check of a foreign key keeps its plan as long as the session lives;
# one made while the table was small would read all of it for each trade, until somebody analyzes the table again.
_SETTINGS = (
    "SET LOCAL statement_timeout = {limit_ms}; SET LOCAL lock_timeout = {limit_ms};"
    " SET LOCAL idle_in_transaction_session_timeout = {limit_ms}; SET LOCAL tcp_user_timeout = {limit_ms};"
    " SET LOCAL tcp_keepalives_idle = {silence_s}; SET LOCAL tcp_keepalives_interval = {silence_s};"
    " SET LOCAL tcp_keepalives_count = 3; SET LOCAL enable_seqscan = off; SET LOCAL timezone = 'UTC'"
)
_SETTINGS_FROM_17_ON = f"{_SETTINGS}; SET LOCAL transaction_timeout = {{limit_ms}}"
_WITH_TRANSACTION_TIMEOUT = 170_000

# A migration asks for its lock again and again instead of waiting for it: whoever comes later waits behind one that waits.
LOCK_WAIT_MS = 200
# Its sender may vanish, or be stopped, with a lock in its hands. Time limits that a role or database has set are not for it.
_MIGRATION_SETTINGS = (
    "SET LOCAL lock_timeout = {lock_ms}; SET LOCAL idle_in_transaction_session_timeout = {idle_ms};"
    " SET LOCAL tcp_keepalives_idle = 10; SET LOCAL tcp_keepalives_interval = 10; SET LOCAL tcp_keepalives_count = 3;"
    " SELECT set_config(name, '0', true) FROM pg_settings"
    " WHERE name IN ('statement_timeout', 'transaction_timeout')"
)

# As much of a statement as any server shows of it.
_SHOWN = 64
_STALLED_COPIES = text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
    " AND usename = session_user AND state = 'active' AND wait_event = 'ClientRead'"
    " AND left(query, :shown) = ANY(:beginnings) AND query_start < clock_timestamp() - make_interval(secs => :limit_s)"
)


class Database:
    """Short transactions on one pool of connections; every failure is an Outage or a RowRefused."""

    def __init__(
        self, url: str, *, transaction_timeout_s: float, pool_size: int, application_name: str
    ) -> None:
        # The server gives up first, so that its reason is heard; the guard is for one that says nothing.
        self._limit_s = transaction_timeout_s * SERVER_SHARE
        limits = {"limit_ms": int(self._limit_s * 1000), "silence_s": max(1, int(transaction_timeout_s / 4))}
        self._beginning_before_17 = f"{_BEGIN}; {_SETTINGS}".format(**limits)
        self._beginning = f"{_BEGIN}; {_SETTINGS_FROM_17_ON}".format(**limits)
        self._guard = SilenceGuard(transaction_timeout_s)
        self._engine = create_engine(
            address(url),
            # The driver is to begin nothing by itself: it would take a round trip of its own for each transaction.
            isolation_level="AUTOCOMMIT",
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=CONNECT_TIMEOUT_S,
            hide_parameters=True,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "application_name": application_name,
                # A plan that is kept stays what it was when the tables were small: the inbox would be read from end to
                # end for each batch. And a pooler may have given the plan to somebody else.
                "prepare_threshold": None,
            },
        )
        event.listen(self._engine, "do_execute", _copy_in)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run the block in one transaction, committed at its end, within the transaction timeout.

        What the server is told for it is told inside of it, where no pooler can lose it; the guard ends it from
        here. After an Outage its effect is unknown: the connection may have died while it was being committed.
        """
        with (
            outages(),
            self._engine.connect() as connection,
            _given_up_in_an_outage(connection),
            self._guard.watch(_driver(connection).fileno()),
            connection.begin(),
        ):
            self._begin(connection)
            yield connection

    def _begin(self, connection: Connection) -> None:
        bounded = _driver(connection).info.server_version >= _WITH_TRANSACTION_TIMEOUT
        # Without parameters: all of it at once, and no rows to be read.
        connection.exec_driver_sql(self._beginning if bounded else self._beginning_before_17)

    def end_stalled_copies(self, statements: Iterable[str]) -> int:
        """End the sessions that have awaited rows of these statements for longer than a transaction may take.

        Return how many. Their senders were stopped in the middle of a copy, or have vanished; the rows of theirs that are
        there already would keep everybody waiting who is to write the same.
        """
        beginnings = [statement[:_SHOWN] for statement in statements]
        with self.transaction() as connection:
            ended = connection.execute(
                _STALLED_COPIES, {"shown": _SHOWN, "beginnings": beginnings, "limit_s": self._limit_s}
            )
            return int(ended.scalar_one())

    @contextmanager
    def session(self, *, idle_limit_ms: int) -> Iterator[Connection]:
        """Yield a connection for migrations, which begin and end their transactions by themselves.

        None of these waits longer than LOCK_WAIT_MS for a lock: it may be one that everybody has to wait behind. Nor may one
        pause for longer than `idle_limit_ms`, 0 for ever. All else takes the time it takes.
        """
        with outages(), self._engine.connect() as connection:
            connection.execution_options(isolation_level="READ COMMITTED")
            settings = _MIGRATION_SETTINGS.format(lock_ms=LOCK_WAIT_MS, idle_ms=idle_limit_ms)

            def begin(begun: Connection) -> None:
                # Without a transaction there is nothing that could be local to it.
                if begun.get_execution_options()["isolation_level"] != "AUTOCOMMIT":
                    begun.exec_driver_sql(settings)

            event.listen(connection, "begin", begin)
            yield connection

    def ping(self) -> None:
        """Return when PostgreSQL answers a query; raises Outage otherwise."""
        with self.transaction():
            pass

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()
        self._guard.close()


def copying(table: Table, columns: Sequence[str]) -> str:
    """Return the statement that reads rows as `copy` sends them."""
    names = ", ".join(columns)
    return f"COPY {table.name} ({names}) FROM STDIN (FORMAT csv, NULL 'null', ESCAPE '\\', ENCODING 'UTF8')"


def copy(connection: Connection, statement: str, lines: bytes) -> None:
    """Send rows of a statement of `copying`. Raises RowRefused where COPY is not possible on this table, too."""
    try:
        connection.exec_driver_sql(statement, (lines,))
    except NotSupportedError as error:
        # Row-level security has no COPY.
        raise RowRefused(_reason(error)) from error


def _copy_in(cursor: Any, statement: str, parameters: Any, _context: Any) -> bool:  # noqa: ANN401  the driver's
    # Within SQLAlchemy, and so within its way to tell errors apart, to notice lost connections, to show statements.
    if not statement.startswith("COPY "):
        return False
    with cursor.copy(statement) as rows:
        rows.write(parameters[0])
    return True


@contextmanager
def _given_up_in_an_outage(connection: Connection) -> Iterator[None]:
    try:
        yield
    except (IntegrityError, DataError):
        raise
    except SQLAlchemyError:
        # A session keeps what its role or database had set when it began: one that began while the database was
        # read-only stays so, and one of a primary that was demoted stays there.
        connection.invalidate()
        raise


def _driver(connection: Connection) -> Any:  # noqa: ANN401  SQLAlchemy does not say which driver
    driver_connection = connection.connection.driver_connection
    if driver_connection is None:
        raise Outage("postgresql", "the connection is gone")
    return driver_connection


@contextmanager
def outages() -> Iterator[None]:
    """Translate whatever SQLAlchemy raises: RowRefused where the data is at fault, else Outage."""
    try:
        yield
    except (IntegrityError, DataError) as error:
        raise RowRefused(_reason(error)) from error
    except SQLAlchemyError as error:
        reason = _reason(error)
        raise (AccessDenied if any(sign in reason for sign in _REFUSALS) else Outage)(
            "postgresql", reason
        ) from error


def _reason(error: SQLAlchemyError) -> str:
    if not isinstance(error, DBAPIError):
        return f"{type(error).__name__}: {error}"[:300]
    # The first line alone: the others quote the row.
    first = str(error.orig).partition("\n")[0]
    state = getattr(error.orig, "sqlstate", None)
    return f"{type(error.orig).__name__} {state or 'without code'}: {first}"[:300]
