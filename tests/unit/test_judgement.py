"""Which condition is named first, what each says, and what each wants to be run next."""

from itertools import combinations
from typing import Any

import pytest
from msgspec.structs import asdict

from worker.ops.judgement import Away, Facts, judge, span

WORKING = Facts(alive=2)
GONE = Away("PostgreSQL", "OperationalError: connection refused")
UNTRUSTED = Away("Redis", "REDIS_URL: the server's certificate is not trusted", misconfigured=True)
DENIED = Away("Redis", "AuthenticationError: WRONGPASS", refused=True)

# The worst first: the order is the ranking.
CONDITIONS: dict[str, tuple[dict[str, Any], str]] = {
    "unreachable": ({"away": (GONE,)}, "PostgreSQL does not answer: OperationalError: connection refused."),
    "misconfigured": (
        {"away": (UNTRUSTED,)},
        "Redis can't be used as it is named: REDIS_URL: the server's certificate is not trusted.",
    ),
    "refused": ({"away": (DENIED,)}, "Redis refuses access: AuthenticationError: WRONGPASS."),
    "schema_behind": ({"schema": "behind"}, "The database schema is behind this version: worker migrate"),
    "schema_obstructed": (
        {"schema": "obstructed", "obstacle": "schema public has table orders", "remedy": "CREATE SCHEMA own"},
        "The database can't be migrated: schema public has table orders: CREATE SCHEMA own",
    ),
    "eviction": (
        {"eviction": "allkeys-lru"},
        (
            "Redis may evict orders that nobody has executed (maxmemory-policy allkeys-lru); "
            "set maxmemory-policy noeviction."
        ),
    ),
    "group_missing": (
        {"group_exists": False, "entries": 12_000},
        (
            "Group execution is missing, nobody reads 12,000 entries on the orders stream; "
            "a replica makes it anew: worker run"
        ),
    ),
    "nobody_works": (
        {"alive": 0, "waiting": 12_000, "oldest_waiting_age_s": 11_100.0},
        "12,000 orders wait (the oldest for 3 h 5 min) and nobody works, no replica is alive: worker run",
    ),
    "rows_not_stored": (
        {
            "may_change_rows": ("trigger seen on orders",), "pending": 40,
            "oldest_pending_age_s": 6.0, "last_recorded_age_s": 5.5,
        },
        (
            "40 orders are pending, none is recorded, and trigger seen on orders may change or swallow rows: "
            "what is stored otherwise is not published; see which in the logs of the replicas and /ready."
        ),
    ),
    "standstill": (
        {"waiting": 12_000, "oldest_waiting_age_s": 400.0, "last_recorded_age_s": 300.0},
        (
            "12,000 orders wait (the oldest for 6 min 40 s), 2 replicas alive, "
            "and no order was recorded for 5 min; see why in their logs and /ready."
        ),
    ),
    "lost_rows": (
        {"lost_rows": 1},
        "PostgreSQL lost rows: results of 1 order went out, and their rows are gone: worker audit --repair",
    ),
    "lost_unread": (
        {"lost_unread": 7},
        "7 orders were trimmed before anybody had read them, and are lost; ask the producers what they sent.",
    ),
    "unknown_results": (
        {"unknown_results": 3},
        (
            "Nobody can know whether 3 results went out: trimmed or deleted, and their marks lost: "
            "worker audit --repair --republish"
        ),
    ),
    "shared_source": (
        {"streams_of_source": 2},
        "2 orders streams are worked on under one source: give each fleet a WORKER_SOURCE of its own.",
    ),
    "set_aside": (
        {"set_aside": 2, "a_set_aside": "5-1"},
        "2 orders can be neither settled nor buried; see why in the logs: worker show 5-1",
    ),
    "stuck": (
        {"pending": 40, "stuck": 3, "longest_untouched_s": 500.0},
        "3 pending orders untouched for more than 1 min 30 s (for 8 min 20 s, the longest): worker pending",
    ),
    "dead_letters": (
        {"open_letters": {"conflict": 2, "poison": 1}},
        "3 open dead letters (2 conflict, 1 poison): worker dead list",
    ),
    "submitted": (
        {"submitted": 2, "oldest_submitted_age_s": 601.0, "a_submitted": "order-7"},
        "2 orders handed to the venue without an answer, for 10 min 1 s: worker show order-7",
    ),
    "volatile": (
        {"volatile": {"PostgreSQL": "fsync off"}},
        (
            "PostgreSQL may lose what it has acknowledged (fsync off); set fsync and synchronous_commit on, "
            "for our role and database, too, and tables LOGGED, or WORKER_ALLOW_VOLATILE=1 if that is meant."
        ),
    ),
    "repair_running": ({"repairs": 1}, "A repair is running: worker status --watch"),
    "backlog": (
        {"waiting": 12_000, "oldest_waiting_age_s": 4.25},
        (
            "Backlog, being worked off: 12,000 orders wait (the oldest for 4.2 s), 2 replicas alive: "
            "worker status --watch"
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
# Where a server is away, or the tables are old, nothing can be recorded; without a group nobody is alive in
# it.
APART |= {
    (worse, still)
    for still in ("rows_not_stored", "standstill")
    for worse in (
        "unreachable",
        "misconfigured",
        "refused",
        "schema_behind",
        "schema_obstructed",
        "group_missing",
        "nobody_works",
    )
}


def facts(*names: str) -> Facts:
    together = asdict(WORKING)
    for name in names:
        for fact, value in CONDITIONS[name][0].items():
            together[fact] = together[fact] + value if fact == "away" else value
    return Facts(**together)


@pytest.mark.parametrize("name", CONDITIONS)
def test_condition_says_what_it_is_what_to_run_and_whether_a_person_is_needed(name: str) -> None:
    (found,) = judge(facts(name))

    assert (found.name, found.sentence) == (name, CONDITIONS[name][1])
    assert found.needs_person == (name not in BY_ITSELF)


@pytest.mark.parametrize(
    "pair", [pair for pair in combinations(list(CONDITIONS)[:-1], 2) if pair not in APART]
)
def test_worse_one_of_two_is_named_first_and_the_other_is_not_forgotten(pair: tuple[str, str]) -> None:
    assert [each.name for each in judge(facts(*pair))] == list(pair)


def test_everything_at_once_is_told_in_order() -> None:
    everything = list(CONDITIONS)[:-1]

    found = judge(facts(*everything))

    # Without a group nobody is alive in it, so nothing is being worked off either; the schema is in one
    # state.
    apart = {"schema_behind", "nobody_works", "rows_not_stored", "standstill", "backlog"}
    assert [each.name for each in found] == [name for name in everything if name not in apart]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (Facts(), "All well: nothing is waiting, no replica was heard of lately."),
        (Facts(alive=1, pending=3), "All well: nothing is waiting, 3 pending, 1 replica alive."),
        (Facts(pending=1), "1 order is pending and nobody works, no replica is alive: worker run"),
        (
            Facts(waiting=1, oldest_waiting_age_s=4.9),
            (
                "Backlog, being worked off: 1 order waits (the oldest for 4.9 s), "
                "no replica was heard of lately: worker status --watch"
            ),
        ),
        (
            Facts(waiting=1, oldest_waiting_age_s=5.1),
            "1 order waits (the oldest for 5.1 s) and nobody works, no replica is alive: worker run",
        ),
        (Facts(waiting=1), "1 order waits and nobody works, no replica is alive: worker run"),
        (
            Facts(waiting=20_000, waiting_exact=False),
            "at least 20,000 orders wait and nobody works, no replica is alive: worker run",
        ),
        (
            Facts(alive=1, pending=2, oldest_pending_age_s=91.0),
            (
                "2 orders are pending, 1 replica alive, and no order was recorded ever; "
                "see why in their logs and /ready."
            ),
        ),
        (
            Facts(alive=1, pending=2, oldest_pending_age_s=89.0),
            "All well: nothing is waiting, 2 pending, 1 replica alive.",
        ),
        (
            Facts(alive=1, pending=2, oldest_pending_age_s=500.0, last_recorded_age_s=89.0),
            "All well: nothing is waiting, 2 pending, 1 replica alive.",
        ),
        (Facts(group_exists=False), "All well: nothing is waiting, no replica was heard of lately."),
        (
            Facts(alive=1, open_letters={"failed": 1}, all_letters=False),
            "at least 1 open dead letter (1 failed): worker dead list",
        ),
        (
            Facts(alive=1, submitted=1, oldest_submitted_age_s=89.0, a_submitted="a"),
            "All well: nothing is waiting, 1 replica alive.",
        ),
        (
            Facts(away=(Away("Redis", "ResponseError: WRONGTYPE", answers=True),)),
            "Redis answers, but not as it should: ResponseError: WRONGTYPE.",
        ),
        (Facts(alive=1, repairs=2), "2 repairs are running: worker status --watch"),
        (Facts(alive=1, schema="newer"), "All well: nothing is waiting, 1 replica alive."),
    ],
)
def test_sentence_fits_the_numbers(given: Facts, sentence: str) -> None:
    assert judge(given)[0].sentence == sentence


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"), (9.96, "10.0 s"), (10, "10 s"), (59.9, "59 s"), (60, "1 min"), (61, "1 min 1 s"),
        (3600, "1 h"), (7260, "2 h 1 min"), (86_400, "1 d"), (90_000, "1 d 1 h"), (86_400 * 400, "400 d"),
    ],
)  # fmt: skip
def test_time_spans_have_two_units_at_the_most(seconds: float, said: str) -> None:
    assert span(seconds) == said
