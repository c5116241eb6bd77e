"""Which streams the sources of a database are, and where they publish."""

from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from worker.domain.fleets import FRESH_S, Fleet
from worker.store.engine import Database
from worker.store.tables import order_sources


class Sources:
    """The book of sources, one line for each stream of a source. Raises Outage."""

    def __init__(self, database: Database, fleet: Fleet) -> None:
        self._database = database
        self._fleet = fleet

    def seen(self, token: str) -> None:
        """Note that the stream of this token is worked on as our source."""
        line = {"source": self._fleet.source, "results": self._fleet.results, "token": token}
        noted = insert(order_sources).values(**line, last_seen=func.now())
        with self._database.transaction() as connection:
            connection.execute(
                noted.on_conflict_do_update(
                    index_elements=["source", "results", "token"], set_={"last_seen": func.now()}
                )
            )

    def gone(self, token: str) -> None:
        """Forget a stream that is not there any more."""
        ours = order_sources.c.source == self._fleet.source
        with self._database.transaction() as connection:
            connection.execute(delete(order_sources).where(ours, order_sources.c.token == token))

    def streams(self) -> int:
        """Return how many streams were worked on as our source lately; more than one is a mistake."""
        lately = order_sources.c.last_seen > func.now() - timedelta(seconds=FRESH_S)
        query = select(func.count(order_sources.c.token.distinct())).where(
            order_sources.c.source == self._fleet.source, lately
        )
        with self._database.transaction() as connection:
            return int(connection.scalar(query) or 0)

    def source_of(self, token: str) -> str | None:
        """Return the other source that the stream of a token was worked on as, if there is one."""
        query = (
            select(order_sources.c.source)
            .where(order_sources.c.token == token, order_sources.c.source != self._fleet.source)
            .limit(1)
        )
        with self._database.transaction() as connection:
            found: str | None = connection.scalar(query)
            return found
