"""How each server is asked how it is: by whom, how often, and what."""

import math
from collections.abc import Callable

from msgspec.structs import replace

from worker.domain.database_state import DatabaseState, TablesState
from worker.domain.errors import Outage
from worker.domain.stream_state import StreamState
from worker.ops.health import CHECK_EVERY_S
from worker.store import Database, StoreInspector, schema
from worker.stream import Figures, RedisLink, RedisNames, StreamInspector

# How often one replica of a fleet counts for all.
COUNTED_EVERY_S = 1.0
# What was done last is to be among the figures.
IDLE_AFTER_S = 10.0


class Asking:
    """How a replica asks: itself if it reaches a server, and what one of its fleet has counted for all."""

    def __init__(
        self,
        link: RedisLink,
        names: RedisNames,
        stream: StreamInspector,
        store: StoreInspector,
        opened: Database,
        *,
        idle_s: Callable[[], float],
        idle_check_s: float,
    ) -> None:
        self._opened = opened
        self._idle_s = idle_s
        self._idle_check_s = idle_check_s or math.inf
        self._streams = Figures(
            link, names, "redis", StreamState, stream.state, every_s=lambda: COUNTED_EVERY_S
        )
        self._tables = Figures(
            link, names, "database", TablesState, store.state,
            every_s=lambda: max(COUNTED_EVERY_S, self.pace_s()),
        )  # fmt: skip

    def pace_s(self) -> float:
        """Return how long to leave PostgreSQL alone: a serverless one sleeps when nobody asks it anything."""
        return CHECK_EVERY_S if self._idle_s() < IDLE_AFTER_S else self._idle_check_s

    def redis(self) -> StreamState:
        """Return what is on the streams. Raises Outage."""
        self._tables.look()
        return self._streams.read()

    def database(self) -> DatabaseState:
        """Return how the database stands, and what is in its tables where that is known. Raises Outage."""
        return database_state(self._opened, self._counted_tables)

    def newest(self, state: DatabaseState) -> DatabaseState:
        """Return what was told before with what was counted since: others may work while we are idle."""
        known = self._tables.known
        return state if known is None or not state.schema.is_usable else replace(state, tables=known)

    def _counted_tables(self) -> TablesState | None:
        try:
            return self._tables.read()
        except Outage as outage:
            if outage.server != "redis":
                raise
            # While it is away nothing is done that would change them.
            return self._tables.known


def database_state(opened: Database, count: Callable[[], TablesState | None]) -> DatabaseState:
    """Return how the schema stands, and what is counted where there are tables. Raises Outage."""
    # A primary of before answers whatever is only read.
    opened.require_writes()
    found = schema.standing(opened)
    return DatabaseState(found, count() if found.is_usable else None)
