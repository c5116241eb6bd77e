"""What `worker status --json` makes of what both servers answer, key for key: programs of others read it."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from worker.bootstrap import status
from worker.cli import main
from worker.domain.database_state import Obstacle, Outcomes, SchemaStanding, SchemaState, TablesState, Took
from worker.domain.errors import AccessDenied, Outage
from worker.domain.fleets import ReplicaNote
from worker.domain.letters import LetterState
from worker.domain.stream_state import (
    ConsumerState,
    Kept,
    LastRepair,
    OldestPending,
    StreamState,
    Survey,
    Waiting,
)
from worker.store import Sources, StoreInspector, schema
from worker.stream import DeadLetters, Presence, StoredLetter, StreamInspector
from worker.stream.status_survey import Surveyor

ENVIRONMENT = {"REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": "postgresql://127.0.0.1:1/nothing"}
STREAMS = StreamState(
    version="7.0.15", eviction="allkeys-lru", volatile="appendonly no", group_exists=True,
    orders=502, lag=5, lost_unread=7, pending=2, oldest_pending_age_s=61.5, set_aside=1, a_set_aside="4-1",
    lost_rows=1,
    results=501, published=501, dead_letters=4,
    consumers=(ConsumerState("a", 2, 900), ConsumerState("gone", 0, 60_001), ConsumerState("repair", 0,
    99_000)),
)  # fmt: skip
SURVEY = Survey(
    waiting=Waiting(5, False, 4.25),
    oldest=OldestPending(("5-1", "6-1"), 1, 120.0),
    lost_unnoticed=2,
    unknown_results=3,
    kept=Kept(7200.0, 502, 90_000.0, 2, 60.5, 720_000),
    repairs_running=1,
    last_repair=LastRepair("2026-11-22T20:41:13Z", "worker-a", "replica", "900", "3", "0", "1", "", "2"),
)
STORED = TablesState("17.4", "fsync off", 501, 463, True, ("trigger seen on orders",), Took(4.5, 12.0))
OUTCOMES = Outcomes({"FILLED": 463, "REJECTED": 38}, True, 1, 95.0, "order-7", 0.5)
SAID = ReplicaNote("0.2.0", "running", "paper", "2026-11-22T19:17:51Z")
REPLAYED = LetterState(state="replayed", by="anna", at="2026-11-22T20:41:02Z")

FULL: dict[str, Any] = {
    "redis": {
        "connected": True,
        "address": "10.0.0.7:1",
        "ping_ms": 0.0,
        "version": "7.0.15",
        "eviction": "allkeys-lru",
        "volatile": "appendonly no",
        "group_exists": True,
        "orders": 502,
        "lag": 5,
        "lost_unread": 7,
        "pending": 2,
        "oldest_pending_age_s": 61.5,
        "set_aside": 1,
        "a_set_aside": "4-1",
        "lost_rows": 1,
        "results": 501,
        "published": 501,
        "dead_letters": 4,
        "consumers": [
            {
                "name": "a",
                "pending": 2,
                "idle_ms": 900,
                "gone": False,
                "said": {
                    "version": "0.2.0",
                    "state": "running",
                    "executor": "paper",
                    "started_at": "2026-11-22T19:17:51Z",
                },
            },
            {"name": "gone", "pending": 0, "idle_ms": 60_001, "gone": True, "said": None},
            {"name": "repair", "pending": 0, "idle_ms": 99_000, "gone": True, "said": None},
        ],
        "oldest_waiting_age_s": 4.25,
        "allow_volatile": False,
        "consumers_alive": 1,
        "consumers_gone": 1,
        "waiting": 5,
        "waiting_exact": False,
        "group": "execution",
        "allow_eviction": False,
        "stuck": 1,
        "stuck_after_s": 90.0,
        "longest_untouched_s": 120.0,
        "pending_looked_at": 2,
        "lost_unnoticed": 2,
        "unknown_results": 3,
        "refuses_writes": None,
        "retention": {
            "first_order_age_s": 7200.0,
            "settled_marks": 502,
            "horizon_age_s": 90_000.0,
            "trimmed_pending": 2,
            "first_result_age_s": 60.5,
            "results_a_day": 720_000,
            "orders_keep_s": 86_400,
            "results_maxlen": 0,
        },
        "repair": {
            "running": 1,
            "last": {
                "at": "2026-11-22T20:41:13Z",
                "by": "worker-a",
                "how": "replica",
                "looked_at": "900",
                "published": "3",
                "buried": "0",
                "made_pending": "1",
                "left_alone": "",
                "skipped": "2",
            },
        },
        "letters": {
            "looked_at": 4,
            "all": True,
            "of_others": 1,
            "open": {"failed": 2},
            "replayed": {"failed": 1},
            "discarded": {},
        },
    },
    "database": {
        "connected": True,
        "address": "10.0.0.7:1",
        "ping_ms": 0.0,
        "version": "17.4",
        "volatile": "fsync off",
        "orders": 501,
        "trades": 463,
        "counts_exact": True,
        "may_change_rows": ["trigger seen on orders"],
        "took": {"median_ms": 4.5, "p95_ms": 12.0},
        "may_hide_rows": [],
        "schema": "newer",
        "allow_volatile": False,
        "outcomes": {
            "last_hour": {"FILLED": 463, "REJECTED": 38},
            "all": True,
            "submitted": 1,
            "oldest_submitted_age_s": 95.0,
            "a_submitted": "order-7",
            "last_recorded_age_s": 0.5,
        },
        "streams_of_source": 2,
    },
    "verdict": {
        "sentence": (
            "Needs you: Redis may evict orders that nobody has executed (maxmemory-policy allkeys-lru); "
            "set maxmemory-policy noeviction."
        ),
        "needs_person": True,
        "conditions": [
            {
                "name": "eviction",
                "text": (
                    "Redis may evict orders that nobody has executed (maxmemory-policy allkeys-lru); "
                    "set maxmemory-policy noeviction"
                ),
                "command": None,
                "needs_person": True,
            },
            {
                "name": "lost_rows",
                "text": "PostgreSQL lost rows: results of 1 order went out, and their rows are gone",
                "command": "worker audit --repair",
                "needs_person": True,
            },
            {
                "name": "lost_unread",
                "text": (
                    "9 orders were trimmed before anybody had read them, and are lost; "
                    "ask the producers what they sent"
                ),
                "command": None,
                "needs_person": True,
            },
            {
                "name": "unknown_results",
                "text": (
                    "Nobody can know whether 3 results went out: trimmed or deleted, and their marks lost"
                ),
                "command": "worker audit --repair --republish",
                "needs_person": True,
            },
            {
                "name": "shared_source",
                "text": (
                    "2 orders streams are worked on under one source: give each fleet a WORKER_SOURCE of its "
                    "own"
                ),
                "command": None,
                "needs_person": True,
            },
            {
                "name": "set_aside",
                "text": "1 order can be neither settled nor buried; see why in the logs",
                "command": "worker show 4-1",
                "needs_person": True,
            },
            {
                "name": "stuck",
                "text": "1 pending order untouched for more than 1 min 30 s (for 2 min, the longest)",
                "command": "worker pending",
                "needs_person": True,
            },
            {
                "name": "dead_letters",
                "text": "2 open dead letters (2 failed)",
                "command": "worker dead list",
                "needs_person": True,
            },
            {
                "name": "submitted",
                "text": "1 order handed to the venue without an answer, for 1 min 35 s",
                "command": "worker show order-7",
                "needs_person": True,
            },
            {
                "name": "volatile",
                "text": (
                    "Redis may lose what it has acknowledged (appendonly no); set appendonly yes, "
                    "appendfsync everysec "
                    "and no-appendfsync-on-rewrite no, or WORKER_ALLOW_VOLATILE=1 if that is meant"
                ),
                "command": None,
                "needs_person": True,
            },
            {
                "name": "volatile",
                "text": (
                    "PostgreSQL may lose what it has acknowledged (fsync off); set fsync and "
                    "synchronous_commit on, "
                    "for our role and database, too, and tables LOGGED, or WORKER_ALLOW_VOLATILE=1 if "
                    "that is meant"
                ),
                "command": None,
                "needs_person": True,
            },
            {
                "name": "repair_running",
                "text": "A repair is running",
                "command": "worker status --watch",
                "needs_person": False,
            },
            {
                "name": "backlog",
                "text": (
                    "Backlog, being worked off: at least 5 orders wait (the oldest for 4.2 s), 1 replica "
                    "alive"
                ),
                "command": "worker status --watch",
                "needs_person": False,
            },
        ],
    },
}
DEGRADED: dict[str, Any] = {
    "redis": {
        "connected": False,
        "error": "WRONGPASS",
        "answers": False,
        "refused": True,
        "misconfigured": False,
    },
    "database": {
        "connected": True,
        "address": "10.0.0.7:1",
        "ping_ms": 0.0,
        "schema": "obstructed",
        "obstacle": {"what": "schema public has table orders", "remedy": "CREATE SCHEMA own"},
        "allow_volatile": False,
    },
    "verdict": {
        "sentence": "Needs you: Redis refuses access: WRONGPASS.",
        "needs_person": True,
        "conditions": [
            {
                "name": "refused",
                "text": "Redis refuses access: WRONGPASS",
                "command": None,
                "needs_person": True,
            },
            {
                "name": "schema_obstructed",
                "text": "The database can't be migrated: schema public has table orders",
                "command": "CREATE SCHEMA own",
                "needs_person": True,
            },
        ],
    },
}


class Servers:
    """What both servers answer; an error is raised in place of an answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        nothing = SimpleNamespace(script=lambda _source: None, whereabouts=lambda: "10.0.0.7:1")

        @contextmanager
        def opened(*_: object) -> Iterator[object]:
            yield nothing

        monkeypatch.setattr(status, "redis_link", opened)
        monkeypatch.setattr(status, "database", opened)
        monkeypatch.setattr(Presence, "read", lambda *_: {"a": SAID})
        monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
        monkeypatch.setattr(nothing, "require_writes", lambda: None, raising=False)
        self.ping_redis(None)
        self.ping_postgresql(None)

    def ping_redis(self, answer: object) -> None:
        self._answer(status, "require_redis", answer)

    def ping_postgresql(self, answer: object) -> None:
        self._answer(status, "require_postgresql", answer)

    def redis(self, state: object = STREAMS, survey: object = SURVEY) -> None:
        letters = [
            letter("1-0", b"failed", None),
            letter("2-0", b"failed", REPLAYED),
            letter("3-0", b"failed", None),
            letter("4-0", b"failed", None, source=b"us"),
        ]
        self._answer(StreamInspector, "state", state)
        self._answer(Surveyor, "survey", survey)
        self._answer(DeadLetters, "latest", letters)

    def postgresql(
        self, standing: object, stored: object = STORED, outcomes: object = OUTCOMES, streams: object = 2
    ) -> None:
        self._answer(schema, "standing", standing)
        self._answer(StoreInspector, "state", stored)
        self._answer(StoreInspector, "outcomes", outcomes)
        self._answer(Sources, "streams", streams)

    def _answer(self, where: object, name: str, answer: object) -> None:
        def told(*_: object) -> object:
            if isinstance(answer, Exception):
                raise answer
            return answer

        self._monkeypatch.setattr(where, name, told)


def letter(
    letter_id: str, reason: bytes, closed: LetterState | None, source: bytes | None = None
) -> StoredLetter:
    said = () if source is None else (b"source", source)
    return StoredLetter(letter_id, (b"entry_id", b"9-0", b"reason", reason, *said), closed)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Servers:
    return Servers(monkeypatch)


def printed() -> str:
    return CliRunner(env=ENVIRONMENT).invoke(main, ["status", "--json"]).stdout


def test_json_of_two_servers_that_answer_is_this_key_for_key(servers: Servers) -> None:
    servers.redis()
    servers.postgresql(SchemaStanding(SchemaState.NEWER))

    assert printed() == json.dumps(FULL, indent=2) + "\n"


def test_json_of_servers_that_are_of_no_use_is_this_key_for_key(servers: Servers) -> None:
    servers.ping_redis(AccessDenied("redis", "WRONGPASS"))
    obstacle = Obstacle("schema public has table orders", "CREATE SCHEMA own")
    servers.postgresql(SchemaStanding(SchemaState.OBSTRUCTED, obstacle))

    assert printed() == json.dumps(DEGRADED, indent=2) + "\n"


def test_orders_at_the_venue_are_told_though_redis_fails_after_it_has_named_what_is_pending(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers.redis()
    servers.postgresql(SchemaStanding(SchemaState.CURRENT))
    asked: list[list[str]] = []

    def gone(*_: object) -> None:
        raise Outage("redis", "gone")

    def outcomes(_: object, pending: Sequence[str]) -> Outcomes:
        asked.append(list(pending))
        return OUTCOMES

    monkeypatch.setattr(DeadLetters, "latest", gone)
    monkeypatch.setattr(StoreInspector, "outcomes", outcomes)

    shown = json.loads(printed())

    assert asked == [["5-1", "6-1"]]
    assert shown["redis"] == {
        "connected": False, "error": "gone", "answers": True, "refused": False, "misconfigured": False,
    }  # fmt: skip
