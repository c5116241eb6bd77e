"""How programs read a snapshot: the keys and values that `worker status --json` prints.

Of a server's part, /status prints them, too.
"""

import json
from collections.abc import Mapping
from typing import TypeAlias

from msgspec.structs import asdict

from worker.domain.database_state import DatabaseState
from worker.domain.stream_state import StreamState
from worker.status.conditions import Verdict
from worker.status.snapshot import Away, DatabaseSnapshot, RedisSnapshot, Rules, Snapshot

# What is to be printed: values are what JSON has, and Structs, whose fields are the keys of an object.
Document: TypeAlias = Mapping[str, object]


def printed(document: Document, *, indent: int | None = None) -> str:
    """Return a document as JSON without anything that moves a terminal: all but ASCII is escaped."""
    return json.dumps(document, indent=indent, default=asdict)


def document_of(snapshot: Snapshot, verdict: Verdict) -> Document:
    """Return all of it."""
    return {
        "redis": _redis(snapshot.redis, snapshot.rules),
        "database": _database(snapshot.database, snapshot.rules),
        "verdict": {
            "sentence": verdict.sentence,
            "needs_person": verdict.worst.needs_person,
            "conditions": verdict.conditions,
        },
    }


def document_of_streams(state: StreamState) -> Document:
    """Return what Redis told."""
    return asdict(state)


def document_of_database(state: DatabaseState) -> Document:
    """Return what PostgreSQL told."""
    tables = {} if state.tables is None else asdict(state.tables)
    obstacle = {} if state.schema.obstacle is None else {"obstacle": state.schema.obstacle}
    return {**tables, "schema": state.schema.state.value, **obstacle}


def _redis(redis: RedisSnapshot | Away, rules: Rules) -> Document:
    if isinstance(redis, Away):
        return _away(redis)
    survey, oldest = redis.survey, redis.survey.oldest
    keep = {"orders_keep_s": rules.orders_keep_s, "results_maxlen": rules.results_maxlen}
    return {
        "connected": True,
        "address": redis.address,
        "ping_ms": redis.ping_ms,
        **document_of_streams(redis.state),
        "consumers": redis.consumers,
        "allow_volatile": rules.allow_volatile,
        "consumers_alive": redis.alive,
        "consumers_gone": redis.gone,
        **asdict(survey.waiting),
        "group": rules.group,
        "allow_eviction": rules.allow_eviction,
        "stuck": oldest.stuck,
        "stuck_after_s": rules.stuck_after_s,
        "longest_untouched_s": oldest.longest_untouched_s,
        "pending_looked_at": len(oldest.entry_ids),
        "lost_unnoticed": survey.lost_unnoticed,
        "unknown_results": survey.unknown_results,
        "refuses_writes": survey.refuses_writes,
        "retention": {**asdict(survey.kept), **keep},
        "repair": {"running": survey.repairs_running, "last": survey.last_repair},
        "letters": {
            "looked_at": redis.letters.looked_at,
            "all": redis.letters.all,
            "of_others": redis.letters.of_others,
            **redis.letters.by_state,
        },
    }


def _database(database: DatabaseSnapshot | Away, rules: Rules) -> Document:
    if isinstance(database, Away):
        return _away(database)
    known: Document = (
        {}
        if database.outcomes is None
        else {"outcomes": database.outcomes, "streams_of_source": database.streams_of_source}
    )
    return {
        "connected": True,
        "address": database.address,
        "ping_ms": database.ping_ms,
        **document_of_database(database.state),
        "allow_volatile": rules.allow_volatile,
        **known,
    }


def _away(away: Away) -> Document:
    return {"connected": False, **asdict(away)}
