"""How each server is asked how it is: by whom, how often, and what."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from worker.domain.database_state import DatabaseState, SchemaState, TablesState
from worker.domain.errors import Outage
from worker.ops.health import CHECK_EVERY_S
from worker.store import Database, StoreInspector, schema
from worker.stream import Figures, RedisLink, RedisNames, StreamInspector

# How often one replica of a fleet counts for all.
COUNTED_EVERY_S = 1.0
# What was done last is to be among the figures.
IDLE_AFTER_S = 10.0

Question: TypeAlias = Callable[[], Mapping[str, Any]]


class Asking:
    """How a replica asks: itself whether it reaches a server, and what one of its fleet has counted for all."""

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
        self._redis = Figures(link, names, "redis", lambda: _counted(stream), every_s=lambda: COUNTED_EVERY_S)
        self._database = Figures(
            link,
            names,
            "database",
            lambda: _counted(store),
            every_s=lambda: max(COUNTED_EVERY_S, self.pace_s()),
        )
        self.questions: Mapping[str, Question] = {"redis": self._ask_redis, "database": self._ask_database}
        self.paces: Mapping[str, Callable[[], float]] = {"database": self.pace_s}
        # Others may be at work while we have nothing to do.
        self.figures: Mapping[str, Question] = {"database": self._known_of_database}
        self._has_tables = False

    def pace_s(self) -> float:
        """Return how long to leave PostgreSQL alone: a serverless one sleeps while nobody asks it anything."""
        return CHECK_EVERY_S if self._idle_s() < IDLE_AFTER_S else self._idle_check_s

    def _ask_redis(self) -> Mapping[str, Any]:
        self._database.look()
        return self._redis.read()

    def _ask_database(self) -> Mapping[str, Any]:
        standing = _standing(self._opened)
        self._has_tables = _has_tables(standing)
        return _with_figures(standing, self._figures_of_database)

    def _known_of_database(self) -> Mapping[str, Any]:
        return self._database.known if self._has_tables else {}

    def _figures_of_database(self) -> Mapping[str, Any]:
        try:
            return self._database.read()
        except Outage as outage:
            if outage.server != "redis":
                raise
            # While it is away nothing is done that would change them.
            return self._database.known


def database_state(opened: Database, count: Callable[[], TablesState | None]) -> DatabaseState:
    """Return how the schema stands, and what is counted where there are tables. Raises Outage."""
    # A primary of before answers whatever is only read.
    opened.require_writes()
    found = schema.standing(opened)
    return DatabaseState(found, count() if found.is_usable else None)


def _counted(inspector: StreamInspector | StoreInspector) -> Mapping[str, Any]:
    counted: Mapping[str, Any] = msgspec.to_builtins(inspector.state())
    return counted


def _standing(opened: Database) -> dict[str, Any]:
    # A primary of before answers whatever is only read.
    opened.require_writes()
    found = schema.standing(opened)
    standing: dict[str, Any] = {"schema": found.state.value}
    if found.obstacle is not None:
        standing["obstacle"] = msgspec.to_builtins(found.obstacle)
    return standing


def _with_figures(standing: Mapping[str, Any], count: Question) -> Mapping[str, Any]:
    return {**count(), **standing} if _has_tables(standing) else standing


def _has_tables(standing: Mapping[str, Any]) -> bool:
    return standing["schema"] not in {
        SchemaState.BEHIND.value,
        SchemaState.OBSTRUCTED.value,
    }
