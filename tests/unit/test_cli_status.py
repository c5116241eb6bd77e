"""`worker status` without a server: exit codes, what is printed, what never reaches a terminal, watching."""

import json
import time
from collections.abc import Callable, Mapping

import pytest
from click.testing import CliRunner, Result

from tests.snapshots import BEHIND, OBSTRUCTED, WELL, letters, snapshot
from worker.cli import main
from worker.cli import status as command
from worker.domain.database_state import DatabaseState
from worker.domain.stream_state import LastRepair, OldestPending, Waiting
from worker.settings import Settings
from worker.status import Away, Consumer, DatabaseSnapshot, Snapshot
from worker.status.lines import SHOWN_CONSUMERS

NOWHERE = {
    "REDIS_URL": "redis://:hidden@127.0.0.1:1/0",
    "DATABASE_URL": "postgresql://someone:hidden@127.0.0.1:1/nothing",
}
AWAY = Away("ConnectionError: refused")
REFUSED = Away("ConnectionError: refused", refused=True)
MISCONFIGURED = Away("ConnectionError: refused", misconfigured=True)
# In which part of a snapshot the fields stand that tests change.
STATE, WAITING, KEPT = "redis.state", "redis.survey.waiting", "redis.survey.kept"
LETTERS, SURVEY, OUTCOMES, TABLES = (
    "redis.letters",
    "redis.survey",
    "database.outcomes",
    "database.state.tables",
)
EXPECTED = """\
All well: nothing is waiting, 1 replica alive.

Redis          7.0.15 at 10.0.0.7:6379, answers in 0.2 ms
PostgreSQL     17.4 at 10.0.0.8:5432/orders, answers in 0.5 ms, schema current
waiting        0 (lag 0)
pending        0
consumers      1 alive, 0 gone
               a: 0 pending, last heard of 0.9 s ago
dead letters   0 open, 3 replayed (3 failed), 1 discarded (1 conflict)
lost unread    0
orders         502, the first entered 2 h ago; kept 1 d
results        501; all kept
settled marks  502
repair         none running, none has been
last hour      463 FILLED, 38 REJECTED
in all         501 orders, 463 trades
"""


def worker(monkeypatch: pytest.MonkeyPatch, changes: Mapping[str, object], *arguments: str) -> Result:
    monkeypatch.setattr(command, "snapshot", lambda _settings: snapshot(changes))
    return CliRunner(env=NOWHERE).invoke(main, ["status", *arguments])


def line(result: Result, label: str) -> str:
    (text,) = (each[15:] for each in result.stdout.splitlines() if each[:15].strip() == label)
    return text


def test_well_is_0_and_one_line_for_each_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    result = worker(monkeypatch, {})

    assert (result.exit_code, result.stdout) == (0, EXPECTED)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"redis": AWAY}, 3),
        ({"database": AWAY}, 3),
        ({"redis": REFUSED}, 78),
        ({"redis": MISCONFIGURED}, 78),
        ({"redis": REFUSED, "database": AWAY}, 3),
        ({"database.state.schema": BEHIND}, 1),
        ({"database.state.schema": OBSTRUCTED}, 1),
        ({f"{SURVEY}.lost_unnoticed": 1}, 1),
        ({f"{LETTERS}.by_state": letters({"failed": 1})}, 1),
        ({f"{STATE}.volatile": "appendonly no"}, 1),
        ({f"{TABLES}.volatile": "fsync off"}, 1),
        ({f"{STATE}.volatile": "appendonly no", "rules.allow_volatile": True}, 0),
        ({f"{STATE}.volatile": None}, 0),
        ({f"{WAITING}.waiting": 5}, 0),
        ({"redis.consumers": ()}, 0),
    ],
)
def test_exit_code_is_what_the_worst_condition_means(
    monkeypatch: pytest.MonkeyPatch, changes: Mapping[str, object], code: int
) -> None:
    assert worker(monkeypatch, changes).exit_code == code
    assert worker(monkeypatch, changes, "--json").exit_code == code


def test_worst_stands_in_the_first_line_and_the_others_below(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = letters({"conflict": 2, "poison": 1})
    result = worker(monkeypatch, {f"{LETTERS}.by_state": opened, f"{STATE}.lost_unread": 7})

    first, _, *_ = result.stdout.splitlines()
    assert first.startswith("Needs you: 7 orders were trimmed before anybody had read them")
    assert line(result, "also") == "3 open dead letters (2 conflict, 1 poison): worker dead list"


@pytest.mark.parametrize(
    ("label", "changes", "said"),
    [
        ("waiting", {WAITING: Waiting(12_000, True, 61.0), f"{STATE}.lag": None},
         "12,000, the oldest for 1 min 1 s"),
        ("waiting", {WAITING: Waiting(20_000, False), f"{STATE}.lag": None}, "at least 20,000"),
        ("waiting", {f"{STATE}.group_exists": False}, "0 (lag 0); group execution is MISSING"),
        ("waiting", {f"{STATE}.group_exists": False, f"{STATE}.orders": 0, f"{STATE}.lag": None},
         "0; group execution is not made yet"),
        ("pending", {f"{STATE}.pending": 2000, f"{STATE}.oldest_pending_age_s": 3600.0,
                     f"{SURVEY}.oldest": OldestPending(("1-1",) * 1000, 7, 95.0)},
         ("2,000, the oldest entered 1 h ago; 7 of the first 1,000 untouched for more than 1 min 30 s, "
         "the longest for 1 min 35 s")),
        ("dead letters", {f"{LETTERS}.all": False, f"{STATE}.dead_letters": 70_000},
         "0 open, 3 replayed (3 failed), 1 discarded (1 conflict); of 70,000 only the newest 4"),
        ("dead letters", {f"{LETTERS}.of_others": 2},
         "0 open, 3 replayed (3 failed), 1 discarded (1 conflict); 2 of other fleets"),
        ("lost unread", {f"{STATE}.lost_unread": None},
         "not watched, this server does not count what is added"),
        ("lost unread", {f"{STATE}.lost_unread": 2, f"{SURVEY}.lost_unnoticed": 3},
         "2, 3 more since a replica last looked"),
        ("orders", {"rules.orders_keep_s": 0}, "502, the first entered 2 h ago; kept for ever"),
        ("results", {"rules.results_maxlen": 1000}, "501; at least 1,000 kept"),
        ("results", {f"{KEPT}.results_a_day": 43_000, f"{KEPT}.first_result_age_s": 7200.0},
         ("501; all kept; 43,000 a day since the first, 2 h ago: "
          "WORKER_RESULTS_MAXLEN=301000 would keep about a week")),
        ("results", {"rules.results_maxlen": 1000, f"{KEPT}.results_a_day": 43_000,
                     f"{KEPT}.first_result_age_s": 7200.0},
         "501; at least 1,000 kept; 43,000 a day since the first, 2 h ago"),
        ("settled marks", {f"{KEPT}.horizon_age_s": 90_000.0, f"{KEPT}.trimmed_pending": 2},
         "502, those of entries from 1 d 1 h ago and before are dropped; 2 trimmed while pending"),
        ("repair", {f"{SURVEY}.repairs_running": 1, f"{SURVEY}.last_repair": LastRepair(
            at="2026-11-22T20:41:13+00:00", by="worker-a", how="replica", looked_at="900",
            published="3", buried="0", made_pending="1", left_alone="", skipped="2")},
         ("1 repair running, the last at 2026-11-22T20:41:13+00:00 by worker-a (replica): "
         "900 looked at, 3 published, 1 made pending, 2 skipped")),
        ("repair", {f"{SURVEY}.last_repair": LastRepair("", "", "", "", "0", "0", "0", "0", "0")},
         "none running, the last at - by - (-): - looked at, nothing to mend"),
        ("in all", {f"{TABLES}.orders": 10_000_000, f"{TABLES}.trades": 9_000_000,
         f"{TABLES}.counts_exact": False},
         "about 10,000,000 orders, about 9,000,000 trades"),
        ("last hour", {f"{OUTCOMES}.last_hour": {}}, "no orders"),
        ("last hour", {f"{OUTCOMES}.last_hour": {"FILLED": 100_000}, f"{OUTCOMES}.all": False},
         "100,000 FILLED (the newest only)"),
        ("no answer yet", {f"{OUTCOMES}.submitted": 2, f"{OUTCOMES}.oldest_submitted_age_s": 5.0,
                           f"{OUTCOMES}.a_submitted": "a"}, "2 orders at the venue, the oldest for 5.0 s"),
        ("Redis", {f"{STATE}.volatile": None},
         "7.0.15 at 10.0.0.7:6379, answers in 0.2 ms, whether it keeps what it acknowledges is not known"),
        ("PostgreSQL", {"database": AWAY}, "NOT CONNECTED: ConnectionError: refused"),
        ("PostgreSQL", {"database": DatabaseSnapshot(8.25, DatabaseState(BEHIND), address="h:1/d")},
         "at h:1/d, answers in 8.2 ms, schema behind"),
    ],
)  # fmt: skip
def test_line_shows(
    monkeypatch: pytest.MonkeyPatch, label: str, changes: Mapping[str, object], said: str
) -> None:
    assert line(worker(monkeypatch, changes), label) == said


def test_ten_consumers_are_shown_those_that_hold_most_first(monkeypatch: pytest.MonkeyPatch) -> None:
    many = tuple(Consumer(f"c{n}", n, 1000, n % 2 == 1) for n in range(SHOWN_CONSUMERS + 2))

    lines = worker(monkeypatch, {"redis.consumers": many}).stdout.splitlines()

    assert "               c11: 11 pending, last heard of 1.0 s ago, GONE" in lines
    assert [each for each in lines if " c0: " in each or " c1: " in each] == []
    assert "               ... and 2 more: worker pending" in lines


def test_nothing_from_the_streams_moves_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = "\x1b[2J\x07[red]\n"
    changes = {
        "redis.consumers": (Consumer(odd, 0, 1, False),),
        f"{LETTERS}.by_state": letters({odd: 1}),
        f"{SURVEY}.last_repair": LastRepair(*[odd] * 9),
        "database": Away(odd),
    }

    for arguments in ([], ["--json"]):
        result = worker(monkeypatch, changes, *arguments)

        assert not {"\x1b", "\x07"} & set(result.output)
        assert "[red]" in result.stdout


def interrupted_after(
    snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> tuple[Callable[..., Result], list[float]]:
    slept: list[float] = []
    left = iter(snapshots)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == len(snapshots):
            raise KeyboardInterrupt

    def found(_settings: Settings) -> Snapshot:
        return next(left)

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(command, "snapshot", found)
    return lambda *arguments: CliRunner(env=NOWHERE).invoke(main, ["status", *arguments]), slept


TO_DO = "mend it, or have REDIS_URL lead elsewhere: worker status --watch"


def test_watching_outlives_an_outage_until_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, slept = interrupted_after([WELL, snapshot({"redis": AWAY}), WELL], monkeypatch)

    result = watch("--watch")

    assert result.exit_code == 130
    assert slept == [2.0] * 3
    assert [each for each in result.stdout.splitlines() if each.startswith(("All well", "Needs you"))] == [
        "All well: nothing is waiting, 1 replica alive.",
        f"Needs you: Redis does not answer: ConnectionError: refused; {TO_DO}",
        "All well: nothing is waiting, 1 replica alive.",
    ]


def test_watching_as_json_is_an_object_in_each_line(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, slept = interrupted_after([WELL, WELL], monkeypatch)

    result = watch("--watch", "0.5", "--json")

    assert (result.exit_code, slept) == (130, [0.5, 0.5])
    assert [json.loads(each)["verdict"]["needs_person"] for each in result.stdout.splitlines()] == [
        False,
        False,
    ]


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon", "3601"])
def test_interval_that_is_none_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, seconds: str) -> None:
    result = worker(monkeypatch, {}, "--watch", seconds)

    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_help_tells_the_exit_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    said = " ".join(worker(monkeypatch, {}, "--help").stdout.split())

    assert "Exit codes: 0 nothing needs a person, 1 something does, 3 a server is unreachable, 78" in said
