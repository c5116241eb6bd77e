"""The metrics of the whole fleet, which every replica reports alike: what stands on both servers."""

from collections.abc import Callable, Mapping

from worker.domain.database_state import DatabaseState, SchemaStanding
from worker.domain.stream_state import StreamState
from worker.ops.metrics.told import Fleet, Metric, Told, Value, gauge


def _stream(name: str, meaning: str, question: str, of: Callable[[StreamState], float | None]) -> Metric:
    def told_by_redis(told: Told) -> Value:
        return None if told.redis.told is None else of(told.redis.told)

    return _fleet(f"stream_{name}", meaning, question, told_by_redis)


def _fleet(
    name: str,
    meaning: str,
    question: str,
    of: Callable[[Told], Value],
    labels: tuple[str, ...] = (),
    one_by: Fleet = "max",
) -> Metric:
    return gauge(name, meaning, question, of, labels, one_by)


def _unsafe(told: Told) -> Mapping[tuple[str, ...], float]:
    """Return 1 where a server may lose orders and that is not meant; what is not known is missing."""
    redis, database = told.redis.told, told.database.told
    tables = None if database is None else database.tables
    found: dict[tuple[str, ...], object] = {}
    if redis is not None:
        found["redis", "evicts"] = (
            None if redis.eviction is None else redis.eviction and not told.meant.eviction
        )
        found["redis", "forgets"] = (
            None if redis.volatile is None else redis.volatile and not told.meant.volatile
        )
    if tables is not None:
        found["postgresql", "forgets"] = tables.volatile and not told.meant.volatile
        found["postgresql", "changes_rows"] = tables.may_change_rows
    return {labels: float(bool(value)) for labels, value in found.items() if value is not None}


def _schema(told: Told) -> float | None:
    state: DatabaseState | None = told.database.told
    standing: SchemaStanding | None = None if state is None else state.schema
    return None if standing is None else float(standing.is_usable)


STREAMS = (
    _stream("orders", "Entries in the orders stream", "Is the stream trimmed?", lambda state: state.orders),
    _stream("lag", "Entries nobody has taken yet", "How long is the backlog?", lambda state: state.lag),
    _stream(
        "oldest_waiting_age_seconds", "Age of the oldest entry nobody has taken yet, 0 where none waits",
        "For how long have orders waited?", lambda state: state.oldest_waiting_age_s or 0.0,
    ),
    _stream(
        "pending", "Entries taken and not acked, over all consumers", "How much is being worked on?",
        lambda state: state.pending,
    ),
    _stream(
        "oldest_pending_age_seconds", "Age of the oldest pending entry in seconds, 0 where none is pending",
        "Is an order stuck?", lambda state: state.oldest_pending_age_s or 0.0,
    ),
    _stream(
        "set_aside", "Entries that can be neither settled nor buried", "Does an order wait for a person?",
        lambda state: state.set_aside,
    ),
    _stream(
        "lost_unread", "Entries that were trimmed before the group read them",
        "Has a producer trimmed orders that nobody had read?", lambda state: state.lost_unread,
    ),
    _stream(
        "lost_rows", "Orders whose results were published and whose rows PostgreSQL has lost",
        "Has PostgreSQL lost data?", lambda state: state.lost_rows,
    ),
    _stream("results", "Entries in the results stream", "Do results come?", lambda state: state.results),
    _stream(
        "dead_letters", "Entries in the dead letter stream, closed ones and those of other fleets as well",
        "Do letters wait for a person?", lambda state: state.dead_letters,
    ),
)  # fmt: skip

SERVERS = (
    _fleet(
        "unsafe_setting",
        "Whether a server may evict, forget or change what it was given, and no setting calls that meant",
        "Can orders be lost without any fault?", _unsafe, ("server", "risk"),
    ),
    _fleet(
        "schema_usable", "Whether this version can work with the database's tables",
        "Was the database migrated back, or restored from before?", _schema, one_by="min",
    ),
)  # fmt: skip
