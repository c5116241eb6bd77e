"""`worker status` without a server: exit codes, what is printed, what never reaches a terminal, watching."""

import json
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from click.testing import CliRunner, Result

from worker.cli import main, status
from worker.ops.summary import SHOWN_CONSUMERS
from worker.settings import Settings

NOWHERE = {
    "REDIS_URL": "redis://:hidden@127.0.0.1:1/0",
    "DATABASE_URL": "postgresql://someone:hidden@127.0.0.1:1/nothing",
}
AWAY = {
    "connected": False,
    "error": "ConnectionError: refused",
    "answers": False,
    "refused": False,
    "misconfigured": False,
}
REFUSED = {**AWAY, "refused": True}
MISCONFIGURED = {**AWAY, "misconfigured": True}
WELL: dict[str, Any] = {
    "redis": {
        "connected": True, "ping_ms": 0.25, "version": "7.0.15", "eviction": "", "allow_eviction": False,
        "volatile": "", "allow_volatile": False, "group": "execution", "group_exists": True,
        "orders": 502, "lag": 0, "lost_unread": 0, "lost_unnoticed": 0, "unknown_results": 0, "set_aside": 0,
        "a_set_aside": None, "lost_rows": 0, "pending": 0, "oldest_pending_age_s": None,
        "results": 501, "dead_letters": 4,
        "consumers": [{"name": "a", "pending": 0, "idle_ms": 900, "gone": False}],
        "consumers_alive": 1, "consumers_gone": 0,
        "waiting": 0, "waiting_exact": True, "oldest_waiting_age_s": None,
        "stuck": 0, "stuck_after_s": 90.0, "longest_untouched_s": None, "pending_looked_at": 0,
        "retention": {
            "first_order_age_s": 7200.0, "settled_marks": 502, "horizon_age_s": None, "trimmed_pending": 0,
            "orders_keep_s": 86_400, "results_maxlen": 0,
        },
        "repair": {"running": 0, "last": None},
        "letters": {
            "looked_at": 4, "all": True, "open": {}, "replayed": {"failed": 3}, "discarded": {"conflict": 1},
        },
    },
    "database": {
        "connected": True, "ping_ms": 0.5, "version": "17.4", "volatile": "", "allow_volatile": False,
        "orders": 501, "trades": 463, "counts_exact": True,
        "schema": "current",
        "outcomes": {
            "last_hour": {"FILLED": 463, "REJECTED": 38}, "all": True,
            "submitted": 0, "oldest_submitted_age_s": None, "a_submitted": None,
        },
    },
}  # fmt: skip
EXPECTED = """\
All well: nothing is waiting, 1 replica alive.

Redis          7.0.15, answers in 0.2 ms
PostgreSQL     17.4, answers in 0.5 ms, schema current
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


def found(**changes: Any) -> dict[str, Any]:
    """A snapshot where all is well but for these, named server_name or server_part_name."""
    made = deepcopy(WELL)
    for name, value in changes.items():
        server, _, key = name.partition("__")
        part, _, inner = key.partition("__")
        if not key:
            made[server] = value
        elif inner:
            made[server][part][inner] = value
        else:
            made[server][part] = value
    return made


def worker(monkeypatch: pytest.MonkeyPatch, snapshot: dict[str, Any], *arguments: str) -> Result:
    monkeypatch.setattr(status, "snapshot", lambda _settings: snapshot)
    return CliRunner(env=NOWHERE).invoke(main, ["status", *arguments])


def line(result: Result, label: str) -> str:
    (text,) = (each[15:] for each in result.stdout.splitlines() if each[:15].strip() == label)
    return text


def test_well_is_0_and_one_line_for_each_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    result = worker(monkeypatch, found())

    assert (result.exit_code, result.stdout) == (0, EXPECTED)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"redis": AWAY}, 3),
        ({"database": AWAY}, 3),
        ({"redis": REFUSED}, 78),
        ({"redis": MISCONFIGURED}, 78),
        ({"redis": REFUSED, "database": AWAY}, 3),
        ({"database__schema": "behind"}, 1),
        (
            {
                "database__schema": "obstructed",
                "database__obstacle": {"what": "a table", "remedy": "a schema"},
            },
            1,
        ),
        ({"redis__lost_unnoticed": 1}, 1),
        ({"redis__letters__open": {"failed": 1}}, 1),
        ({"redis__volatile": "appendonly no"}, 1),
        ({"database__volatile": "fsync off"}, 1),
        ({"redis__volatile": "appendonly no", "redis__allow_volatile": True}, 0),
        ({"redis__volatile": None}, 0),
        ({"redis__waiting": 5}, 0),
        ({"redis__consumers_alive": 0}, 0),
    ],
)
def test_exit_code_is_what_the_worst_condition_means(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], code: int
) -> None:
    assert worker(monkeypatch, found(**changes)).exit_code == code
    assert worker(monkeypatch, found(**changes), "--json").exit_code == code


def test_worst_stands_in_the_first_line_and_the_others_below(monkeypatch: pytest.MonkeyPatch) -> None:
    result = worker(
        monkeypatch, found(redis__letters__open={"conflict": 2, "poison": 1}, redis__lost_unread=7)
    )

    first, _, *_ = result.stdout.splitlines()
    assert first.startswith("Needs you: 7 orders were trimmed before anybody had read them")
    assert line(result, "also") == "3 open dead letters (2 conflict, 1 poison): worker dead list"


@pytest.mark.parametrize(
    ("label", "changes", "said"),
    [
        ("waiting", {"redis__waiting": 12_000, "redis__lag": None, "redis__oldest_waiting_age_s": 61.0},
         "12,000, the oldest for 1 min 1 s"),
        ("waiting", {"redis__waiting": 20_000, "redis__waiting_exact": False, "redis__lag": None},
         "at least 20,000"),
        ("waiting", {"redis__group_exists": False}, "0 (lag 0); group execution is MISSING"),
        ("waiting", {"redis__group_exists": False, "redis__orders": 0, "redis__lag": None},
         "0; group execution is not made yet"),
        ("pending", {"redis__pending": 2000, "redis__stuck": 7, "redis__pending_looked_at": 1000,
                     "redis__longest_untouched_s": 95.0, "redis__oldest_pending_age_s": 3600.0},
         ("2,000, the oldest entered 1 h ago; 7 of the first 1,000 untouched for more than 1 min 30 s, "
         "the longest for 1 min 35 s")),
        ("dead letters", {"redis__letters__all": False, "redis__dead_letters": 70_000},
         "0 open, 3 replayed (3 failed), 1 discarded (1 conflict); of 70,000 only the newest 4"),
        ("lost unread", {"redis__lost_unread": None},
         "not watched, this server does not count what is added"),
        ("lost unread", {"redis__lost_unread": 2, "redis__lost_unnoticed": 3},
         "2, 3 more since a replica last looked"),
        ("orders", {"redis__retention__orders_keep_s": 0}, "502, the first entered 2 h ago; kept for ever"),
        ("results", {"redis__retention__results_maxlen": 1000}, "501; at least 1,000 kept"),
        ("settled marks", {"redis__retention__horizon_age_s": 90_000.0,
                           "redis__retention__trimmed_pending": 2},
         "502, those of entries from 1 d 1 h ago and before are dropped; 2 trimmed while pending"),
        ("repair", {"redis__repair": {"running": 1, "last": {
            "at": "2026-11-22T20:41:13+00:00", "by": "worker-a", "how": "replica", "looked_at": "900",
            "published": "3", "buried": "0", "made_pending": "1", "left_alone": "", "skipped": "2"}}},
         ("1 repair running, the last at 2026-11-22T20:41:13+00:00 by worker-a (replica): "
         "900 looked at, 3 published, 1 made pending, 2 skipped")),
        ("repair", {"redis__repair": {"running": 0, "last": {
            "at": "", "by": "", "how": "", "looked_at": "",
            "published": "0", "buried": "0", "made_pending": "0", "left_alone": "0", "skipped": "0"}}},
         "none running, the last at - by - (-): - looked at, nothing to mend"),
        ("in all", {"database__orders": 10_000_000, "database__trades": 9_000_000,
                    "database__counts_exact": False},
         "about 10,000,000 orders, about 9,000,000 trades"),
        ("last hour", {"database__outcomes__last_hour": {}}, "no orders"),
        ("last hour", {"database__outcomes__last_hour": {"FILLED": 100_000},
                       "database__outcomes__all": False},
         "100,000 FILLED (the newest only)"),
        ("no answer yet", {"database__outcomes__submitted": 2,
                           "database__outcomes__oldest_submitted_age_s": 5.0,
                           "database__outcomes__a_submitted": "a"},
         "2 orders at the venue, the oldest for 5.0 s"),
        ("PostgreSQL", {"database": AWAY}, "NOT CONNECTED: ConnectionError: refused"),
    ],
)  # fmt: skip
def test_line_shows(monkeypatch: pytest.MonkeyPatch, label: str, changes: dict[str, Any], said: str) -> None:
    assert line(worker(monkeypatch, found(**changes)), label) == said


def test_ten_consumers_are_shown_those_that_hold_most_first(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [
        {"name": f"c{n}", "pending": n, "idle_ms": 1000, "gone": n % 2 == 1}
        for n in range(SHOWN_CONSUMERS + 2)
    ]

    lines = worker(monkeypatch, found(redis__consumers=many)).stdout.splitlines()

    assert "               c11: 11 pending, last heard of 1.0 s ago, GONE" in lines
    assert [each for each in lines if " c0: " in each or " c1: " in each] == []
    assert "               ... and 2 more: worker pending" in lines


def test_nothing_from_the_streams_moves_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = "\x1b[2J\x07[red]\n"
    changes = {
        "redis__consumers": [{"name": odd, "pending": 0, "idle_ms": 1, "gone": False}],
        "redis__letters__open": {odd: 1},
        "redis__repair": {
            "running": 0,
            "last": dict.fromkeys(
                (
                    "at",
                    "by",
                    "how",
                    "looked_at",
                    "published",
                    "buried",
                    "made_pending",
                    "left_alone",
                    "skipped",
                ),
                odd,
            ),
        },
        "database__outcomes__a_submitted": odd,
        "database": {**AWAY, "error": odd},
    }

    for arguments in ([], ["--json"]):
        result = worker(monkeypatch, found(**changes), *arguments)

        assert not {"\x1b", "\x07"} & set(result.output)
        assert "[red]" in result.stdout


def test_json_has_the_verdict_and_everything_found(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = found(redis__letters__open={"failed": 1}, redis__waiting=5)

    shown = json.loads(worker(monkeypatch, snapshot, "--json").stdout)

    verdict = shown.pop("verdict")
    assert shown == snapshot
    assert verdict["sentence"] == "Needs you: 1 open dead letter (1 failed): worker dead list"
    assert verdict["needs_person"] is True
    assert [(each["name"], each["command"]) for each in verdict["conditions"]] == [
        ("dead_letters", "worker dead list"), ("backlog", "worker status --watch"),
    ]  # fmt: skip


def interrupted_after(
    snapshots: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> tuple[Callable[..., Result], list[float]]:
    slept: list[float] = []
    left = iter(snapshots)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == len(snapshots):
            raise KeyboardInterrupt

    def snapshot(_settings: Settings) -> dict[str, Any]:
        return next(left)

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(status, "snapshot", snapshot)
    return lambda *arguments: CliRunner(env=NOWHERE).invoke(main, ["status", *arguments]), slept


def test_watching_outlives_an_outage_until_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, slept = interrupted_after([found(), found(redis=AWAY), found()], monkeypatch)

    result = watch("--watch")

    assert result.exit_code == 130
    assert slept == [2.0] * 3
    assert [each for each in result.stdout.splitlines() if each.startswith(("All well", "Needs you"))] == [
        "All well: nothing is waiting, 1 replica alive.",
        "Needs you: Redis does not answer: ConnectionError: refused.",
        "All well: nothing is waiting, 1 replica alive.",
    ]


def test_watching_as_json_is_an_object_in_each_line(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, slept = interrupted_after([found(), found()], monkeypatch)

    result = watch("--watch", "0.5", "--json")

    assert (result.exit_code, slept) == (130, [0.5, 0.5])
    assert [json.loads(each)["verdict"]["needs_person"] for each in result.stdout.splitlines()] == [
        False,
        False,
    ]


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon", "3601"])
def test_interval_that_is_none_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, seconds: str) -> None:
    result = worker(monkeypatch, found(), "--watch", seconds)

    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_help_tells_the_exit_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    said = " ".join(worker(monkeypatch, found(), "--help").stdout.split())

    assert "Exit codes: 0 nothing needs a person, 1 something does, 3 a server is unreachable, 78" in said
