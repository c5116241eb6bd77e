"""Snapshots as tests make them up: all is well but for what they change."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from worker.domain.database_state import (
    DatabaseState,
    Obstacle,
    Outcomes,
    SchemaStanding,
    SchemaState,
    TablesState,
)
from worker.domain.stream_state import Kept, OldestPending, StreamState, Survey, Waiting
from worker.status import Consumer, DatabaseSnapshot, Letters, RedisSnapshot, Rules, Snapshot

STREAMS = StreamState(
    version="7.0.15", eviction="", volatile="", group_exists=True, orders=502, lag=0, lost_unread=0,
    pending=0, oldest_pending_age_s=None,
    set_aside=0, a_set_aside=None, lost_rows=0, results=501, published=501, dead_letters=4,
    consumers=(),
)  # fmt: skip
SURVEY = Survey(
    waiting=Waiting(), oldest=OldestPending(), lost_unnoticed=0, unknown_results=0,
    kept=Kept(7200.0, 502, None, 0),
    repairs_running=0, last_repair=None,
)  # fmt: skip
DATABASE = DatabaseState(SchemaStanding(SchemaState.CURRENT), TablesState("17.4", "", 501, 463, True))
OUTCOMES = Outcomes({"FILLED": 463, "REJECTED": 38}, True, 0, None, None, None)
WELL = Snapshot(
    Rules("execution", 90.0, 86_400, 0, False, False),
    RedisSnapshot(
        0.25, STREAMS, SURVEY, (Consumer("a", 0, 900, False),),
        Letters(4, True, {"open": {}, "replayed": {"failed": 3}, "discarded": {"conflict": 1}}),
        "10.0.0.7:6379",
    ),
    DatabaseSnapshot(0.5, DATABASE, OUTCOMES, address="10.0.0.8:5432/orders"),
)  # fmt: skip
BEHIND = SchemaStanding(SchemaState.BEHIND)
OBSTRUCTED = SchemaStanding(
    SchemaState.OBSTRUCTED, Obstacle("schema public has table orders", "CREATE SCHEMA own")
)


def snapshot(changes: Mapping[str, object] = {}, of: Snapshot = WELL) -> Snapshot:
    """Return one that differs in fields, each named by its way: redis.state.lag."""
    made = of
    for way, value in changes.items():
        made = _changed(made, way, value)
    return made


def letters(found: Mapping[str, int]) -> Mapping[str, Mapping[str, int]]:
    """Return the letters of each state where these are open."""
    return {"open": found, "replayed": {}, "discarded": {}}


def alive(replicas: int) -> tuple[Consumer, ...]:
    """Return so many consumers that are replicas and not gone."""
    return tuple(Consumer(f"replica-{n}", 0, 900, False) for n in range(replicas))


def _changed(struct: Any, way: str, value: object) -> Any:
    name, _, rest = way.partition(".")
    return replace(struct, **{name: _changed(getattr(struct, name), rest, value) if rest else value})
