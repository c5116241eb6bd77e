"""The pages: which status, what they say, and what they never say."""

import json
import math
import time
from collections.abc import Mapping
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from msgspec import Struct
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from tests.faces import faced
from tests.snapshots import BEHIND, OBSTRUCTED
from worker.domain.database_state import DatabaseState, SchemaStanding, SchemaState, TablesState
from worker.domain.errors import Outage
from worker.domain.measured import Figures, ServerOutages
from worker.domain.stream_state import ConsumerState, StreamState
from worker.ops import Check, Checks, Identity, Views, front, health
from worker.ops.metrics import NOTHING_MEANT, Meant
from worker.ops.pages import pages

COUNTS = {
    "received": 9,
    "filled": 4,
    "rejected": 3,
    "error": 0,
    "duplicate": 1,
    "dead": 1,
    "answered_again": 0,
    "handed_back": 0,
    "released": 0,
    "leases_lost": 0,
    "in_hand": 0,
    "batches": 2,
    "outages": 0,
    "unexpected": 0,
    "unknown_fields": 7,
    "dropped_labels": 8,
    "malformed_traceparents": 11,
    "unreadable_timestamps": 9,
    "unpublished_results": 10,
}
REDIS = StreamState(
    version="7.0.15", eviction="", volatile="", group_exists=True, orders=12, lag=0, lost_unread=5, pending=2,
    oldest_pending_age_s=1.5, set_aside=0, a_set_aside=None, lost_rows=3, results=9, published=9,
    dead_letters=1, consumers=(ConsumerState("c-1", 2, 300),),
)  # fmt: skip
TABLES = TablesState("17.4", "", orders=9, trades=4, counts_exact=True)
DATABASE = DatabaseState(SchemaStanding(SchemaState.CURRENT), TABLES)

FIGURES = Figures(
    histograms={},
    deliveries={("filled", ""): 4, ("dead", "poison"): 1},
    outages={"redis": ServerOutages(2, 7.5, now=True)},
    reconnects={"redis": 3},
    repaired={"publish": 6},
    claimed=5,
    retries_waiting=1,
    retention_age_s=12.0,
)

Told = TypeVar("Told")


class Recent(Struct):
    """What the database tells of the orders recorded last."""

    orders: list[dict[str, str]]
    unreadable: int


def told(answer: Told | Exception) -> Told:
    if isinstance(answer, Exception):
        raise answer
    return answer


class Shown:
    """Views over a worker and servers that a test makes up; what is asked of a server is answered at once."""

    def __init__(self, meant: Meant = NOTHING_MEANT) -> None:
        self.figures = FIGURES
        self.vitals = SimpleNamespace(
            sign_of_life_age_s=0.5,
            state="running",
            outage=None,
            counts=lambda: COUNTS,
            figures=lambda: self.figures,
        )
        self.redis: StreamState | Exception = REDIS
        self.database: DatabaseState | Exception = DATABASE
        self.asked_for: list[int] = []
        self.recent: Recent | Exception = Recent([{"order_id": "a"}], 0)
        self.checks = Checks(
            Check("redis", lambda: told(self.redis)), Check("database", lambda: told(self.database))
        )
        self.views = Views(
            Identity(version="1.2.3", mode="paper", consumer="c-1", group="g"),
            self.vitals,
            self.checks,
            stale_after_s=32,
            recent_orders=self._recent,
            meant=meant,
        )

        self.application = front(self.views, pages(faced(self.views)))

    def page(self, path: str, query: str = "") -> tuple[int, Any]:
        self.ask()
        page = self.views.orders(query) if path == "/orders" else self.views.routes[path](query)
        return page.status.value, json.loads(page.body)

    def ask(self) -> None:
        """Let both servers answer now."""
        self.checks.redis.ask()
        self.checks.database.ask()

    def _recent(self, limit: int) -> Recent:
        self.asked_for.append(limit)
        return told(self.recent)


@pytest.mark.parametrize(("age", "status"), [(0, 200), (32, 200), (32.1, 503), (9999, 503)])
def test_health_is_whether_the_loop_gave_a_sign_of_life_lately(age: float, status: int) -> None:
    shown = Shown()
    shown.vitals.sign_of_life_age_s = age

    found, body = shown.page("/health")

    assert (found, body["status"]) == (status, "ok" if status == HTTPStatus.OK else "stuck")


def test_health_does_not_depend_on_the_servers() -> None:
    shown = Shown()
    shown.redis, shown.database = Outage("redis", "down"), Outage("postgresql", "down")

    assert shown.page("/health")[0] == HTTPStatus.OK


def test_ready_is_everything_answering() -> None:
    assert Shown().page("/ready") == (200, {"ready": True, "reasons": []})


def test_not_ready_before_anybody_was_asked() -> None:
    page = Shown().views.ready()

    assert page.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert json.loads(page.body)["reasons"] == ["redis: not asked yet", "database: not asked yet"]


NOT_READY: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "redis down": ({"redis": Outage("redis", "refused")}, {}, ["redis: refused"]),
    "database down": ({"database": Outage("postgresql", "refused")}, {}, ["database: refused"]),
    "group missing": (
        {"redis": replace(REDIS, group_exists=False)},
        {},
        ["redis: the consumer group is missing"],
    ),
    "schema behind": ({"database": DatabaseState(BEHIND)}, {}, ["database: the schema is behind"]),
    "schema obstructed": (
        {"database": DatabaseState(OBSTRUCTED)},
        {},
        ["database: the schema is behind, and something is in the way of migrating it"],
    ),
    "draining": ({}, {"state": "draining"}, ["draining"]),
    "an outage": ({}, {"state": "outage", "outage": "redis: gone"}, ["redis: gone"]),
    "a check with a bug": ({"redis": KeyError("secret detail")}, {}, ["redis: KeyError"]),
}


@pytest.mark.parametrize(("answers", "vitals", "reasons"), NOT_READY.values(), ids=NOT_READY.keys())
def test_not_ready_says_why(answers: dict[str, Any], vitals: dict[str, Any], reasons: list[str]) -> None:
    shown = Shown()
    vars(shown).update(answers)
    vars(shown.vitals).update(vitals)

    assert shown.page("/ready") == (503, {"ready": False, "reasons": reasons})


def test_newer_schema_is_ready() -> None:
    shown = Shown()
    shown.database = DatabaseState(SchemaStanding(SchemaState.NEWER), TABLES)

    assert shown.page("/ready")[0] == HTTPStatus.OK


def test_server_that_has_not_answered_lately_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown()
    shown.page("/ready")
    later = time.monotonic() + 5.1
    monkeypatch.setattr(health, "time", SimpleNamespace(monotonic=lambda: later))

    body = json.loads(shown.views.ready().body)

    assert body["reasons"] == ["redis: has not answered lately", "database: has not answered lately"]


def test_figures_of_a_server_that_has_not_answered_lately_are_shown_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = Shown()
    shown.page("/ready")
    later = time.monotonic() + 5.1
    monkeypatch.setattr(health, "time", SimpleNamespace(monotonic=lambda: later))

    status = json.loads(shown.views.status().body)
    metrics = shown.views.metrics().body

    assert status["redis"] == status["database"] == {"connected": False, "error": "has not answered lately"}
    assert b"execution_stream_" not in metrics


def test_status_shows_the_worker_its_counts_and_both_servers() -> None:
    status, body = Shown().page("/status")

    assert status == HTTPStatus.OK
    assert (body["service"], body["version"], body["mode"], body["state"]) == (
        "execution-worker",
        "1.2.3",
        "paper",
        "running",
    )
    assert (
        body["stats"]["orders_received"],
        body["stats"]["orders_filled"],
        body["stats"]["orders_rejected"],
    ) == (9, 4, 3)
    assert body["stats"].keys() >= {"start_time", "uptime_seconds", "batches", "outages", "unknown_fields"}
    assert (body["redis"]["connected"], body["redis"]["lag"], body["redis"]["pending"]) == (True, 0, 2)
    assert (body["database"]["connected"], body["database"]["orders"]) == (True, 9)


def test_status_shows_what_both_servers_told_key_for_key() -> None:
    _, body = Shown().page("/status")

    shown = {server: json.dumps(body[server]) for server in ("redis", "database")}
    assert shown == {
        "redis": (
            '{"connected": true, "version": "7.0.15", "eviction": "", "volatile": "", "group_exists": true, '
            '"orders": 12, "lag": 0, "lost_unread": 5, "pending": 2, "oldest_pending_age_s": 1.5, '
            '"set_aside": 0, '
            '"a_set_aside": null, "lost_rows": 3, "results": 9, "published": 9, "dead_letters": 1, '
            '"consumers": [{"name": "c-1", "pending": 2, "idle_ms": 300}], '
            '"oldest_waiting_age_s": null}'
        ),
        "database": (
            '{"connected": true, "version": "17.4", "volatile": "", "orders": 9, "trades": 4, '
            '"counts_exact": true, '
            '"may_change_rows": [], "took": null, "may_hide_rows": [], "schema": "current"}'
        ),
    }


def test_status_shows_what_is_in_the_way_of_the_tables() -> None:
    shown = Shown()
    shown.database = DatabaseState(OBSTRUCTED)

    _, body = shown.page("/status")

    assert body["database"] == {
        "connected": True,
        "schema": "obstructed",
        "obstacle": {"what": "schema public has table orders", "remedy": "CREATE SCHEMA own"},
    }


def test_status_shows_a_server_that_is_away_with_its_reason() -> None:
    shown = Shown()
    shown.database = Outage("postgresql", "refused")

    _, body = shown.page("/status")

    assert body["database"] == {"connected": False, "error": "refused"}


@pytest.mark.parametrize(("query", "limit"), [("", 20), ("limit=1", 1), ("limit=100", 100), ("other=x", 20)])
def test_orders_are_limited(query: str, limit: int) -> None:
    shown = Shown()

    assert shown.page("/orders", query) == (200, {"orders": [{"order_id": "a"}], "unreadable": 0})
    assert shown.asked_for == [limit]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=101",
        "limit=1e9",
        "limit=abc",
        "limit=",
        "limit=1&limit=2",
        "limit=%D9%A1",
        "limit=+5",
        "limit=1.0",
    ],
)
def test_orders_with_a_bad_limit_are_a_bad_request(query: str) -> None:
    shown = Shown()

    status, body = shown.page("/orders", query)

    assert (status, body) == (400, {"error": "limit must be a whole number from 1 to 100"})
    assert shown.asked_for == []


def test_orders_do_not_ask_a_database_that_is_away() -> None:
    shown = Shown()
    shown.database = Outage("postgresql", "refused")

    assert shown.page("/orders") == (503, {"error": "the database does not answer"})
    assert shown.asked_for == []


def test_orders_hide_the_reason_of_an_outage() -> None:
    shown = Shown()
    shown.recent = Outage("postgresql", "password authentication failed")

    assert shown.page("/orders") == (503, {"error": "the database does not answer"})


def metrics(shown: Shown) -> dict[str, list[tuple[Mapping[str, str], float]]]:
    shown.ask()
    found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for family in text_string_to_metric_families(shown.views.metrics().body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_metrics_keep_the_names_that_dashboards_use() -> None:
    found = metrics(Shown())

    assert found["execution_orders_received_total"] == [({}, 9)]
    assert found["execution_orders_filled_total"] == [({}, 4)]
    assert found["execution_orders_rejected_total"] == [({}, 3)]
    assert found["execution_uptime_seconds"][0][1] >= 0


def test_metrics_show_the_streams_and_which_server_answers() -> None:
    shown = Shown()
    shown.database = Outage("postgresql", "refused")

    found = metrics(shown)

    assert found["execution_stream_lag"] == [({}, 0)]
    assert found["execution_stream_lost_unread"] == [({}, 5)]
    assert found["execution_stream_lost_rows"] == [({}, 3)]
    assert found["execution_stream_oldest_pending_age_seconds"] == [({}, 1.5)]
    assert found["execution_connected"] == [({"server": "redis"}, 1), ({"server": "database"}, 0)]


def test_metrics_leave_out_what_redis_can_not_tell() -> None:
    shown = Shown()
    shown.redis = replace(REDIS, lag=None, lost_unread=None)

    found = metrics(shown)

    assert not {"execution_stream_lag", "execution_stream_lost_unread"} & found.keys()


def test_every_metric_family_appears_once() -> None:
    shown = Shown()
    metrics(shown)

    lines = shown.views.metrics().body.decode().splitlines()

    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types))


class Clock:
    """The clock of the checks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr(health, "time", SimpleNamespace(monotonic=lambda: self.seconds))


class Asked:
    """Checks of one server, looked after each second as their thread does it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pace_s: float) -> None:
        self.clock, self.pace_s, self.times = Clock(monkeypatch), pace_s, 0
        self.newest = DATABASE
        self.check = Check("database", self._answer, pace_s=lambda: self.pace_s, newest=lambda _: self.newest)
        self.check.ask()

    def pass_time(self, seconds: int) -> set[bool]:
        """Let time pass; return whether the server counted as connected meanwhile."""
        connected = set()
        for _ in range(seconds):
            self.clock.seconds += 1
            connected.add(self.check.last.connected)
            self.check.look()
            connected.add(self.check.last.connected)
        return connected

    def _answer(self) -> DatabaseState:
        self.times += 1
        return DATABASE


@pytest.mark.parametrize(("pace_s", "times"), [(1, 61), (10, 7), (3600, 1), (math.inf, 1)])
def test_server_that_has_answered_is_left_alone_for_its_pace_and_counts_as_connected_meanwhile(
    pace_s: float, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(monkeypatch, pace_s)

    connected = asked.pass_time(60)

    assert connected == {True}
    assert asked.times == times


@pytest.mark.parametrize("worked_s", [0, 3, 7])
def test_server_never_looks_cut_off_to_whoever_finds_work_and_has_none_any_more(
    worked_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(monkeypatch, 1)
    connected = asked.pass_time(worked_s)

    for pace_s in (math.inf, 1, 10, 1):
        asked.pace_s = pace_s
        before = asked.times
        connected |= asked.pass_time(20)
        assert (asked.times > before) == (pace_s < 20)

    assert connected <= {True}


def test_server_whose_answer_does_not_come_counts_as_cut_off_though_it_was_to_be_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Asked(monkeypatch, 10)
    asked.pass_time(9)

    # The thread hangs in its question.
    asked.clock.seconds += health.STALE_AFTER_S + 0.1

    assert not asked.check.last.connected


def test_server_that_did_not_answer_is_asked_again_at_once_whatever_its_pace() -> None:
    times = 0

    def away() -> DatabaseState:
        nonlocal times
        times += 1
        raise Outage("postgresql", "down")

    check = Check("database", away, pace_s=lambda: math.inf)
    for _ in range(3):
        check.look()

    assert times == 3


def test_pages_show_what_others_have_counted_since(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, math.inf)
    asked.newest = replace(DATABASE, tables=replace(TABLES, orders=77))

    assert asked.check.last.told == asked.newest
