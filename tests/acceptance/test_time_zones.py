"""Every time shown or published is in UTC, whatever zone the worker's process or the database is in."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.commands import command
from tests.harness import Deployment, eventually, numbered_orders, take_and_vanish
from tests.processes import workers

TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d| ?[A-Z]+)?")
UNIX_SECONDS = re.compile(r'"(?:timestamp|first_seen|last_seen)": "?(\d{9,})"?[,}]')
HOUR_S = 3600
CLOCKS_APART_S = 5

Elsewhere = Callable[[Deployment, pytest.MonkeyPatch], AbstractContextManager[None]]


@contextmanager
def process_in_another_zone(_deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    try:
        with monkeypatch.context() as within:
            # Tokyo, spelled so that no table of zones is needed.
            within.setenv("TZ", "JST-9")
            time.tzset()
            yield
    finally:
        time.tzset()


@contextmanager
def database_in_another_zone(deployment: Deployment, _monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # The database ends with the test, and its setting with it.
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        name = sql.Identifier(deployment.database_name)
        connection.execute(sql.SQL("ALTER DATABASE {} SET timezone = 'America/St_Johns'").format(name))
    yield


def everything_shown(deployment: Deployment, folder: Path) -> dict[str, str]:
    """Whatever shows a time: pages and logs of a replica, what it published, what the commands print."""
    # What producers say of time is shown as they said it.
    orders = [{name: each[name] for name in each if name != "timestamp"} for each in numbered_orders(3)]
    deployment.submit(orders[:2])
    deployment.add_raw("payload", "{")
    shown = {}
    with workers(deployment, folder, 1) as (replica,):
        eventually(deployment.all_settled)
        for path in ("/status", "/orders", "/orders/order-0", "/search"):
            eventually(lambda: replica.get("/ready")[0] == 200)
            shown[path] = replica.get(path)[1].decode()
        assert replica.drain() == 0
    ((letter_id, _),) = deployment.entries(deployment.dead_letters)
    command(deployment, "dead", "discard", letter_id, "--yes")
    command(deployment, "audit", "--repair")
    deployment.submit(orders[2:])
    take_and_vanish(deployment, 1)
    for arguments in (
        ("show", "order-0"), ("show", "order-0", "--json"), ("pending",), ("audit", "--since", "1h"),
        ("audit", "--since", "1h", "--json"), ("status",), ("status", "--json"), ("dead", "list", "--closed"),
        ("dead", "list", "--closed", "--json"), ("dead", "show", letter_id),
    ):  # fmt: skip
        shown[" ".join(arguments)] = command(deployment, *arguments).stdout
    shown["log"] = replica.said
    shown["results"] = json.dumps(deployment.published())
    shown["letters"] = json.dumps(
        [{name: value.decode() for name, value in letter.items()} for letter in deployment.letters()]
    )
    return shown


def times_in(text: str) -> Iterator[float]:
    """Unix seconds of each time in a text; fails where one does not say that it is in UTC."""
    for spelled in TIME.findall(text):
        assert spelled.endswith("Z"), spelled
        yield datetime.fromisoformat(spelled).timestamp()
    yield from map(float, UNIX_SECONDS.findall(text))


def assert_within(shown: Mapping[str, str], began: float, ended: float) -> None:
    """Assert that no time in the texts is before or after."""
    times = {where: list(times_in(text)) for where, text in shown.items()}
    off = {
        where: each
        for where, found in times.items()
        for each in found
        if not began - CLOCKS_APART_S < each < ended + CLOCKS_APART_S
    }
    assert off == {}
    assert [where for where, found in times.items() if not found] == []


@pytest.mark.parametrize("elsewhere", [process_in_another_zone, database_in_another_zone])
def test_every_time_is_utc(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Elsewhere
) -> None:
    began = time.time()

    with elsewhere(deployment, monkeypatch):
        shown = everything_shown(deployment, tmp_path)

    # An audit says since when it has looked.
    assert_within(shown, began - HOUR_S, time.time())
