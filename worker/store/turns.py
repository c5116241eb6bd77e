"""One migration at a time, and patience: with other migrations, and with whoever has the tables locked."""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import not_
from threading import Event, Thread
from typing import Any

import structlog
from sqlalchemy import text
from tenacity import RetryCallState, Retrying, retry_if_result, wait_exponential

from worker.domain.errors import WorkerError
from worker.store.engine import Database

log = structlog.get_logger(__name__)

# Any constants, the same in all versions to come. The last version waits for its own within a statement.
# Building an index beside the work waits for all statements: nobody may hold that one meanwhile, or both
# would wait for ever, and the server would see nothing wrong, since the holder is a transaction that waits
# for nobody.
TURN = 0x6F726465727302
TURN_OF_THE_LAST_VERSION = 0x6F726465727301

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
SAY_EVERY_S = 10.0
LAST_WORD_S = 1.0

# Sent without parameters: with any, the driver would leave behind an open portal, whose snapshot an index
# waits for.
_TRY_TURN = f"SELECT pg_try_advisory_xact_lock({TURN})"
_oldest = text(
    "SELECT pid, application_name, state,"
    " extract(epoch FROM clock_timestamp() - xact_start)::int AS open_for_s"
    " FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
    " AND application_name <> current_setting('application_name') ORDER BY xact_start LIMIT 1"
)


class Waiting:
    """Logs now and then why the migration is not done yet, and which transaction is the oldest meanwhile."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._over = Event()
        self.why = "it has just begun"

    @contextmanager
    def told(self) -> Iterator[None]:
        """Say so for as long as the block takes."""
        thread = Thread(target=self._tell, name="waiting", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(timeout=LAST_WORD_S)

    def until(self, why: str) -> Retrying:
        """Return what calls a function until it returns true, pausing longer each time.

        Meanwhile `why` says why it is not done yet.
        """

        def say(_state: RetryCallState) -> None:
            self.why = why

        return Retrying(
            retry=retry_if_result(not_),
            wait=wait_exponential(multiplier=SHORTEST_PAUSE_S, max=LONGEST_PAUSE_S),
            before_sleep=say,
        )

    def _tell(self) -> None:
        while not self._over.wait(SAY_EVERY_S):
            log.info("migration is not done yet", why=self.why, **self._oldest_transaction())

    def _oldest_transaction(self) -> dict[str, Any]:
        try:
            with self._database.transaction() as connection:
                found = connection.execute(_oldest).mappings().first()
        except WorkerError:
            # Whoever migrates meets it, too.
            return {}
        return {"oldest_transaction": dict(found)} if found else {}


@contextmanager
def turn(database: Database, waiting: Waiting) -> Iterator[None]:
    """Run the block while no other migration runs.

    The turn ends with its transaction, and so with the process. It is asked for again and again: a statement
    that waits would be waited for in its turn, by the index that the other migration is building, until one
    of the two is ended.
    """
    with database.session(idle_limit_ms=0) as connection:

        def is_taken() -> bool:
            taken = bool(connection.exec_driver_sql(_TRY_TURN).scalar())
            if not taken:
                connection.rollback()
            return taken

        waiting.until("another migration is at work")(is_taken)
        yield
