"""A month of orders (a week without CHAOS): time is moved in entries, rows, letters, and nothing grows."""

import json
from typing import Any

import pytest

from tests.aging import DAY_MS, ids_of_age
from tests.faults.scale import CHAOS
from tests.harness import Deployment, eventually, numbered_orders
from tests.inprocess import running
from tests.integration.test_prune import audited, sql
from worker.consumer import retention
from worker.pruning import own_turn

pytestmark = [pytest.mark.usefixtures("marks_go_at_once"), pytest.mark.timeout(300)]
DAYS = 30 if CHAOS else 8
A_DAY = 20
# By then retention lets go each day of what came on another.
WARM = 3
KEPT: dict[str, Any] = {
    "orders_keep_s": 1, "results_maxlen": 100, "repair_window_s": 0, "letters_keep_s": 1, "rows_keep_s": 1,
    "dedupe_window_s": 86_400,
}  # fmt: skip
SIZES = {"stream": "XLEN", "zset": "ZCARD", "hash": "HLEN", "string": "STRLEN"}
# A line for each day is meant.
TABLES = ("orders", "trades", "order_sources")


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "EVERY_S", 0.02)
    monkeypatch.setattr(own_turn, "EVERY_S", 0.02)
    monkeypatch.setattr(own_turn, "ANEW_EVERY_S", 0.0)


def sizes(deployment: Deployment) -> dict[str, int]:
    """How much each key that does not end by itself, and each table holds."""
    client = deployment.redis
    found = {}
    for key in deployment.all_keys():
        size = SIZES.get(text_of(client.type(key)))
        if size is not None and client.pttl(key) == -1:
            found[text_of(key)] = int(client.execute_command(size, key))  # type: ignore[no-untyped-call]
    rows = {name: sql(deployment, f"SELECT count(*) FROM {name}")[0][0] for name in TABLES}  # noqa: S608  ours
    return {**found, **rows}


def text_of(reply: Any) -> str:
    return str(reply.decode())


def close_letters(deployment: Deployment) -> None:
    """Have a person close each letter, long ago."""
    state = json.dumps({"state": "discarded", "by": "me", "at": "2000-01-01T00:00:00Z"})
    for letter_id, _ in deployment.entries(deployment.dead_letters):
        deployment.redis.hset(f"{deployment.dead_letters}:state", letter_id, state)


def live_through(deployment: Deployment, day: int) -> None:
    """Have a day's orders executed as of then, one of them no order at all."""
    orders = [{**each, "order_id": f"day-{day}-{n}"} for n, each in enumerate(numbered_orders(A_DAY))]
    ids = ids_of_age(A_DAY + 1, (DAYS - day) * DAY_MS)
    deployment.submit([*orders, {"payload": "{"}], under=ids)
    eventually(deployment.all_settled)
    dated = "UPDATE orders SET recorded_at = to_timestamp(split_part(entry_id, '-', 1)::bigint / 1000.0)"
    sql(deployment, f"{dated} WHERE recorded_at > now() - interval '1 h'")
    close_letters(deployment)


def test_every_key_and_table_is_flat_after_a_month(deployment: Deployment) -> None:
    by_day = []
    with running(deployment, **KEPT) as made:
        for day in range(DAYS):
            live_through(deployment, day)
            # Of today, of yesterday, and of the day before until the minute for clocks has passed.
            eventually(lambda: len(deployment.rows()) <= 3 * A_DAY)
            by_day.append(sizes(deployment))
        # The last day that is old enough may be pruned a moment later.
        eventually(lambda: sql(deployment, "SELECT count(*) FROM order_prunings") == [(DAYS - 2,)])

    before, last = by_day[WARM], by_day[-1]
    assert {name: size for name, size in last.items() if size > 2 * before.get(name, 0)} == {}
    assert by_day[-1]["orders"] <= 3 * A_DAY
    assert audited(deployment)[:2] == (0, [])
    assert made.worker.tally.dead == DAYS
