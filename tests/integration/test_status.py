"""`worker status` on real servers: what each line and the sentence say of a situation that really is."""

import json
import time
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import update

from local import LocalRedis
from tests.accounts import with_user
from tests.harness import Deployment, eventually, numbered_orders, take_and_vanish
from tests.inprocess import running
from tests.skips import Reason, counts_added, skip
from worker.bootstrap import status
from worker.cli.status import Look
from worker.domain.errors import Outage
from worker.status import Away
from worker.store import queries
from worker.store.tables import orders
from worker.stream import RedisLink, status_survey

LONG_LEASE: dict[str, Any] = {"lease_ms": 600_000}


def look(deployment: Deployment, **overrides: object) -> dict[str, Any]:
    """What the command finds, and the text that it prints."""
    made = Look(deployment.settings(**overrides))
    return {**json.loads(made.json()), "text": made.text, "code": made.exit_code}


def names(shown: dict[str, Any]) -> list[str]:
    return [each["name"] for each in shown["verdict"]["conditions"]]


def be_alive(deployment: Deployment, consumer: str = "alive") -> None:
    """Ask for something nobody has, as a replica does all the time."""
    if not deployment.redis.exists(deployment.orders):
        deployment.redis.xgroup_create(deployment.orders, deployment.group, "0", mkstream=True)
    deployment.redis.xgroup_createconsumer(deployment.orders, deployment.group, consumer)


def bury(deployment: Deployment, reason: str | bytes, count: int) -> list[bytes]:
    with deployment.redis.pipeline() as pipeline:
        for n in range(count):
            pipeline.xadd(
                deployment.dead_letters, {"entry_id": f"{n}-0", "reason": reason, "orig:a": b"\xff"}
            )
        return list(pipeline.execute())


def test_empty_servers_are_well(deployment: Deployment) -> None:
    shown = look(deployment)

    assert (names(shown), shown["code"]) == (["well"], 0)
    assert shown["verdict"]["sentence"] == "All well: nothing is waiting, no replica was heard of lately."
    assert shown["database"]["outcomes"]["last_hour"] == {}
    assert (shown["redis"]["retention"]["first_order_age_s"], shown["redis"]["repair"]["last"]) == (
        None,
        None,
    )
    assert "is not made yet" in shown["text"]


def test_orders_that_were_executed_are_told_by_status(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(200))
    with running(deployment, paper_success_rate=0.5):
        eventually(deployment.all_settled)
        shown = look(deployment, **LONG_LEASE)

    outcomes = shown["database"]["outcomes"]["last_hour"]
    assert (names(shown), shown["code"]) == (["well"], 0)
    assert set(outcomes) == {"FILLED", "REJECTED"}
    assert outcomes == {
        status: sum(row.status.value == status for row in deployment.rows().values()) for status in outcomes
    }
    assert (shown["redis"]["consumers_alive"], shown["redis"]["retention"]["settled_marks"]) == (1, 200)
    assert 0 <= shown["redis"]["retention"]["first_order_age_s"] < 60
    assert shown["redis"]["retention"]["horizon_age_s"] is None
    assert shown["redis"]["ping_ms"] > 0
    assert shown["database"]["ping_ms"] > 0


def test_only_the_last_hour_is_counted_and_no_more_than_so_many(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.submit(numbered_orders(20))
    with running(deployment):
        eventually(deployment.all_settled)
    old = datetime.now(UTC) - timedelta(hours=2)
    with deployment.database.transaction() as connection:
        connection.execute(update(orders).where(orders.c.order_id < "order-13").values(recorded_at=old))
    recent = sum(order_id >= "order-13" for order_id in deployment.rows())

    whole = look(deployment)["database"]["outcomes"]
    monkeypatch.setattr(queries, "MOST_OUTCOMES", 3)
    cut = look(deployment)

    assert (sum(whole["last_hour"].values()), whole["all"]) == (recent, True)
    assert (sum(cut["database"]["outcomes"]["last_hour"].values()), cut["database"]["outcomes"]["all"]) == (
        3,
        False,
    )
    assert "(the newest only)" in cut["text"]


def test_backlog_with_a_replica_alive_needs_nobody(deployment: Deployment) -> None:
    be_alive(deployment)
    deployment.submit(numbered_orders(30))

    shown = look(deployment, **LONG_LEASE)

    assert (names(shown), shown["code"]) == (["backlog"], 0)
    assert (shown["redis"]["waiting"], shown["redis"]["waiting_exact"]) == (30, True)
    assert shown["verdict"]["sentence"].startswith(
        "Backlog, being worked off: 30 orders wait (the oldest for "
    )


def test_consumer_that_is_gone_is_no_replica_that_works(deployment: Deployment) -> None:
    be_alive(deployment, "gone")
    deployment.submit(numbered_orders(30))

    eventually(lambda: names(look(deployment)) == ["nobody_works"])
    shown = look(deployment)

    assert shown["code"] == 1
    assert (shown["redis"]["consumers_alive"], shown["redis"]["consumers_gone"]) == (0, 1)
    assert "gone: 0 pending, last heard of" in shown["text"]
    assert ", GONE" in shown["text"]


def test_waiting_is_right_in_the_middle_of_the_stream_and_after_deletions(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = deployment.submit(numbered_orders(1200))
    take_and_vanish(deployment, 100)
    middle = look(deployment)["redis"]
    deployment.redis.xdel(deployment.orders, *ids[600:700])
    deleted = look(deployment)["redis"]
    monkeypatch.setattr(status_survey, "MOST_COUNTED", 500)
    bounded = look(deployment)

    assert (middle["waiting"], middle["waiting_exact"]) == (1100, True)
    assert (deleted["waiting"], deleted["waiting_exact"]) == (1000, True)
    assert (bounded["redis"]["waiting"], bounded["redis"]["waiting_exact"]) == (500, False)
    assert "at least 500" in bounded["text"]


def test_missing_group_with_orders_is_told(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(5))

    shown = look(deployment)

    assert (names(shown), shown["code"]) == (["group_missing"], 1)
    assert "nobody reads 5 entries" in shown["verdict"]["sentence"]


def test_orders_trimmed_unread_are_told_before_and_after_a_replica_counts_them(
    deployment: Deployment,
) -> None:
    be_alive(deployment)
    deployment.submit(numbered_orders(4))
    if not counts_added(deployment.redis):
        skip(Reason.COUNTS_NOTHING_ADDED)
    deployment.redis.xreadgroup(deployment.group, "alive", {deployment.orders: ">"}, count=1, noack=True)
    deployment.redis.xtrim(deployment.orders, maxlen=1, approximate=False)

    before = look(deployment, **LONG_LEASE)
    with running(deployment):
        eventually(lambda: deployment.redis.exists(f"{deployment.orders}:lost:{deployment.group}"))
        eventually(deployment.all_settled)
    after = look(deployment, **LONG_LEASE)

    assert (before["redis"]["lost_unread"], before["redis"]["lost_unnoticed"]) == (0, 2)
    assert (after["redis"]["lost_unread"], after["redis"]["lost_unnoticed"]) == (2, 0)
    assert (names(before), names(after)) == (["lost_unread", "backlog"], ["lost_unread"])
    for shown in (before, after):
        assert shown["code"] == 1
        assert shown["verdict"]["sentence"].startswith(
            "Needs you: 2 orders were trimmed before anybody had read"
        )


@pytest.mark.parametrize("group_is_made", [True, False])
def test_orders_trimmed_before_the_first_read_are_told_before_and_after_a_replica_counts_them(
    deployment: Deployment, *, group_is_made: bool
) -> None:
    if group_is_made:
        be_alive(deployment)
    deployment.submit(numbered_orders(4))
    if not counts_added(deployment.redis):
        skip(Reason.COUNTS_NOTHING_ADDED)
    deployment.redis.xtrim(deployment.orders, maxlen=1, approximate=False)

    before = look(deployment, **LONG_LEASE)
    with running(deployment):
        eventually(deployment.all_settled)
    after = look(deployment, **LONG_LEASE)

    assert before["redis"]["lost_unnoticed"] == 3 * group_is_made
    assert (after["redis"]["lost_unread"], after["redis"]["lost_unnoticed"]) == (3, 0)
    assert names(after) == ["lost_unread"]


def test_orders_trimmed_unread_are_not_watched_where_nothing_counts_them(deployment: Deployment) -> None:
    be_alive(deployment)
    deployment.submit(numbered_orders(4))
    if counts_added(deployment.redis):
        skip(Reason.COUNTS_ADDED)

    shown = look(deployment, **LONG_LEASE)

    assert shown["redis"]["lost_unread"] is None
    assert "not watched" in shown["text"]


def test_orders_that_a_producer_trims_under_a_backlog_are_told_to_the_last(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(1))
    if not counts_added(deployment.redis):
        skip(Reason.COUNTS_NOTHING_ADDED)
    producer = Thread(target=trimming_producer, args=(deployment, 3000))

    with running(deployment, batch_size=5):
        producer.start()
        producer.join()
        eventually(deployment.all_settled)
    shown = look(deployment, **LONG_LEASE)

    lost = shown["redis"]["lost_unread"] + shown["redis"]["lost_unnoticed"]
    assert lost == 3001 - len(deployment.rows())
    assert lost > 0
    assert names(shown) == ["lost_unread"]


def trimming_producer(deployment: Deployment, count: int) -> None:
    """Add orders faster than they are read, and keep no more than 20 of them.

    Not more at once than are kept: while a read waits nobody can count what has come and gone in one step.
    """
    orders = numbered_orders(count + 1)
    for first in range(1, count, 20):
        with deployment.redis.pipeline(transaction=True) as pipeline:
            for each in orders[first : first + 20]:
                pipeline.xadd(deployment.orders, each, maxlen=20, approximate=False)  # type: ignore[arg-type]
            pipeline.execute()


def test_pending_entries_untouched_for_several_leases_are_stuck(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(30))
    take_and_vanish(deployment, 20)
    deployment.redis.xreadgroup(deployment.group, "alive", {deployment.orders: ">"})

    shown = look(deployment, **LONG_LEASE)

    # Untouched for an hour, at a lease of ten minutes; the other ten were read just now.
    assert (names(shown), shown["code"]) == (["stuck"], 1)
    assert (shown["redis"]["pending"], shown["redis"]["stuck"]) == (30, 20)
    assert shown["redis"]["longest_untouched_s"] >= 3600
    assert "worker pending" in shown["verdict"]["sentence"]


def test_dead_letters_are_told_by_state_and_reason(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_alive(deployment)
    conflicts, odd = bury(deployment, "conflict", 3), bury(deployment, b"\x1b[2J\xff" * 20, 1)
    (poison,) = bury(deployment, "poison", 1)
    for letter_id, state in ((conflicts[0], "replayed"), (poison, "discarded")):
        kept = json.dumps({"state": state, "by": "anna", "at": "2026-11-22T20:41:02Z"})
        deployment.redis.hset(f"{deployment.dead_letters}:state", letter_id.decode(), kept)

    shown = look(deployment, **LONG_LEASE)
    monkeypatch.setattr(status, "MOST_LETTERS", 2)
    cut = look(deployment, **LONG_LEASE)

    letters = shown["redis"]["letters"]
    assert len(odd) == 1
    assert (names(shown), shown["code"]) == (["dead_letters"], 1)
    assert list(letters["open"].values()) == [2, 1]
    assert letters["open"]["conflict"] == 2
    assert (letters["replayed"], letters["discarded"]) == ({"conflict": 1}, {"poison": 1})
    assert "\x1b" not in shown["text"]
    assert (cut["redis"]["letters"]["looked_at"], cut["redis"]["letters"]["all"]) == (2, False)
    assert "of 5 only the newest 2" in cut["text"]
    assert "at least 1 open dead letter" in cut["verdict"]["sentence"]


def test_letters_that_are_large_are_looked_at_in_part(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(deployment, "failed", 50)
    monkeypatch.setattr(status, "MOST_LETTER_BYTES", 200)

    letters = look(deployment)["redis"]["letters"]

    assert letters["all"] is False
    assert 1 < letters["looked_at"] < 50


def test_any_number_of_made_up_reasons_is_few_lines(deployment: Deployment) -> None:
    for n in range(30):
        bury(deployment, f"reason {n}", 1)

    found = look(deployment)["redis"]["letters"]["open"]

    assert len(found) == status.MOST_REASONS + 1
    assert found["other"] == 30 - status.MOST_REASONS


def test_order_at_the_venue_without_an_answer_is_told(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(3))
    with running(deployment):
        eventually(deployment.all_settled)
    # As if its outcome had never been committed: the row says SUBMITTED, its entry is pending.
    entries = deployment.submit({**numbered_orders(1)[0], "order_id": name} for name in ("asked", "done"))
    deployment.redis.xreadgroup(deployment.group, "alive", {deployment.orders: ">"})
    past = datetime.now(UTC) - timedelta(hours=2)
    same = {
        "fingerprint": b"f",
        "symbol": "A",
        "side": "BUY",
        "quantity": 1,
        "executed_at": past,
        "recorded_at": past,
    }
    rows = [
        {**same, "order_id": "asked", "entry_id": entries[0], "status": "SUBMITTED", "filled_quantity": 0},
        {**same, "order_id": "done", "entry_id": entries[1], "status": "FILLED", "filled_quantity": 1},
    ]
    with deployment.database.transaction() as connection:
        connection.execute(orders.insert(), rows)

    shown = look(deployment, **LONG_LEASE)
    fresh = look(deployment, lease_ms=3_600_000)

    assert (names(shown), shown["code"]) == (["submitted"], 1)
    assert shown["verdict"]["sentence"].endswith("for 2 h: worker show asked")
    assert (names(fresh), fresh["database"]["outcomes"]["submitted"]) == (["well"], 1)


def test_trigger_is_told_when_nothing_is_recorded(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(3), under=("1-1", "1-2", "1-3"))
    swallow = (
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;"
        "CREATE TRIGGER swallow BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION swallow()"
    )
    with deployment.database.transaction() as connection:
        connection.exec_driver_sql(swallow)

    with running(deployment, **LONG_LEASE) as made:
        eventually(lambda: made.worker.outage)
        shown = look(deployment, **LONG_LEASE)
        with deployment.database.transaction() as connection:
            connection.exec_driver_sql("DROP FUNCTION swallow CASCADE")
        eventually(deployment.all_settled)
    after = look(deployment, **LONG_LEASE)

    assert (names(shown), shown["code"]) == (["rows_not_stored"], 1)
    assert "trigger swallow on orders" in shown["verdict"]["sentence"]
    assert shown["database"]["may_change_rows"] == ["trigger swallow on orders"]
    assert names(after) == ["well"]


def test_last_repair_and_running_repairs_are_told(deployment: Deployment) -> None:
    be_alive(deployment)
    keys = (
        f"{deployment.orders}:repaired:{deployment.group}",
        f"{deployment.results}:repairs:{deployment.fleet.source}",
    )
    said: dict[Any, Any] = {
        "at": "2026-11-22T20:41:13+00:00", "by": "worker\x1b[31m", "how": "replica", "looked_at": "900",
        "published": "3", "buried": "0", "made_pending": "1", "left_alone": "2", "skipped": "0",
    }  # fmt: skip
    deployment.redis.hset(keys[0], mapping=said | {"more": "ignored"})
    now = time.time() * 1000
    deployment.redis.zadd(keys[1], {"over": now - 60_000, "running": now + 60_000})

    shown = look(deployment, **LONG_LEASE)

    assert shown["redis"]["repair"] == {"running": 1, "last": said}
    assert (names(shown), shown["code"]) == (["repair_running"], 0)
    assert "(replica): 900 looked at, 3 published, 1 made pending, 2 left alone" in shown["text"]
    assert "\x1b" not in shown["text"]


def test_retention_is_told(deployment: Deployment) -> None:
    be_alive(deployment)
    settled = deployment.marks
    before = time.time() * 1000 - 7_200_000
    deployment.redis.zadd(settled, {"1-0": 1, "2-0": 2, f"horizon={int(before)}": "+inf"})
    deployment.redis.zadd(f"{deployment.orders}:trimmed:{deployment.group}", {"3-0": 3})

    shown = look(deployment, orders_keep_s=7200, results_maxlen=1000, **LONG_LEASE)

    kept = shown["redis"]["retention"]
    assert (kept["settled_marks"], kept["trimmed_pending"]) == (2, 1)
    assert 7190 < kept["horizon_age_s"] < 7260
    assert (kept["orders_keep_s"], kept["results_maxlen"]) == (7200, 1000)
    assert "kept 2 h" in shown["text"]
    assert "at least 1,000 kept" in shown["text"]


def test_growth_of_results_is_told_once_there_is_enough_to_tell(deployment: Deployment) -> None:
    be_alive(deployment)
    now_ms = int(time.time() * 1000)
    deployment.redis.xadd(deployment.results, {"type": "order_result"}, id=f"{now_ms - 30_000}-0")
    young = look(deployment, **LONG_LEASE)["redis"]["retention"]
    deployment.redis.delete(deployment.results)

    def grown_to(*numbers: int) -> dict[str, Any]:
        for number in numbers:
            entry_id = f"{now_ms - 86_400_000 + number}-0"
            deployment.redis.xadd(deployment.results, {"type": "order_result"}, id=entry_id)
        return look(deployment, **LONG_LEASE)

    few = grown_to(*range(99))["redis"]["retention"]
    shown = grown_to(*range(99, 240))

    kept = shown["redis"]["retention"]
    assert young["results_a_day"] is None
    assert few["results_a_day"] is None
    assert 230 <= kept["results_a_day"] <= 240
    assert f"WORKER_RESULTS_MAXLEN={7 * kept['results_a_day']} would keep about a week" in shown["text"]


def test_name_of_any_bytes_is_shown_and_obeyed_by_nothing(deployment: Deployment) -> None:
    be_alive(deployment)
    deployment.redis.execute_command(  # type: ignore[no-untyped-call]
        "XGROUP", "CREATECONSUMER", deployment.orders, deployment.group, b"\xff\x1b[2J[red]\n"
    )

    shown = look(deployment, **LONG_LEASE)

    assert shown["redis"]["consumers_alive"] == 2
    assert "\\x1b[2J[red]\\n: 0 pending" in shown["text"]
    assert "\x1b" not in shown["text"]


def test_schema_that_is_behind_is_told_with_what_mends_it(empty_database: Deployment) -> None:
    shown = look(empty_database)

    assert (names(shown), shown["code"]) == (["schema_behind"], 1)
    assert shown["verdict"]["sentence"].endswith("worker migrate")


@pytest.mark.past_the_pooler
@pytest.mark.parametrize(("variable", "server"), [("REDIS_URL", "Redis"), ("DATABASE_URL", "PostgreSQL")])
def test_server_that_refuses_access_is_told(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, variable: str, server: str
) -> None:
    url = deployment.environment()[variable]
    if "@" not in url or ":" not in url.partition("://")[2].partition("@")[0]:
        skip(Reason.ASKS_FOR_NO_PASSWORD)
    user = "default" if server == "Redis" else "postgres"
    refused = {**deployment.environment(), variable: with_user(url, user, "S3NT1NEL")}
    monkeypatch.setattr(deployment, "environment", lambda *_: refused)

    shown = look(deployment)

    assert (names(shown)[0], shown["code"]) == ("refused", 78)
    assert f"{server} refuses access: " in shown["verdict"]["sentence"]
    assert "S3NT1NEL" not in shown["text"]


def test_key_of_another_kind_is_an_answer_but_none_to_work_with(deployment: Deployment) -> None:
    deployment.redis.set(deployment.orders, "text")

    shown = look(deployment)

    assert (names(shown), shown["code"]) == (["unreachable"], 3)
    assert "Redis answers, but not as it should: " in shown["verdict"]["sentence"]


def test_group_that_goes_while_it_is_asked_about_is_no_failure(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_alive(deployment)
    deployment.submit(numbered_orders(3))
    ask = RedisLink.call

    def call(link: Any, *command: Any) -> Any:
        reply = ask(link, *command)
        if command[:2] == ("XINFO", "GROUPS"):
            deployment.redis.delete(deployment.orders)
        return reply

    monkeypatch.setattr(RedisLink, "call", call)

    shown = look(deployment)

    assert shown["redis"]["connected"] is True


def test_looking_changes_nothing(deployment: Deployment) -> None:
    be_alive(deployment)
    deployment.submit(numbered_orders(30))
    take_and_vanish(deployment, 20)
    bury(deployment, "failed", 3)

    def everything() -> dict[bytes, Any]:
        return {key: deployment.redis.dump(key) for key in deployment.all_keys()}

    before = everything()
    look(deployment)

    assert everything() == before


def test_snapshot_of_a_server_that_fails_half_way_is_an_outage(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise Outage("postgresql", "gone")

    monkeypatch.setattr(queries.StoreInspector, "outcomes", gone)

    found = status.snapshot(deployment.settings())

    assert found.database == Away("gone", answers=True)
    assert found.streams is not None


@pytest.mark.parametrize(
    ("refusing", "taking", "code", "what_to_do"),
    [
        (("CONFIG", "SET", "min-replicas-to-write", 1), ("CONFIG", "SET", "min-replicas-to-write", 0),
         "NOREPLICAS", "start its replicas"),
        (("REPLICAOF", "127.0.0.1", 1), ("REPLICAOF", "NO", "ONE"), "READONLY", "lead to the primary"),
        (("CONFIG", "SET", "maxmemory", 1), ("CONFIG", "SET", "maxmemory", 0), "OOM", "give it memory"),
    ],
)  # fmt: skip
def test_server_that_answers_and_takes_no_writes_needs_a_person(
    own_deployment: Deployment,
    refusing: tuple[str | int, ...],
    taking: tuple[str | int, ...],
    code: str,
    what_to_do: str,
) -> None:
    be_alive(own_deployment)
    keys = own_deployment.redis.keys()
    own_deployment.redis.execute_command(*refusing)  # type: ignore[no-untyped-call]
    refused = look(own_deployment)
    own_deployment.redis.execute_command(*taking)  # type: ignore[no-untyped-call]
    taken = look(own_deployment)

    assert (names(refused)[0], refused["code"]) == ("writes_refused", 1)
    assert refused["redis"]["refuses_writes"].startswith(code)
    assert what_to_do in refused["text"]
    assert (names(taken), taken["redis"]["refuses_writes"]) == (["well"], None)
    assert own_deployment.redis.keys() == keys


def test_both_servers_are_told_by_their_address(deployment: Deployment) -> None:
    shown = look(deployment)

    host_and_port = urlsplit(deployment.servers.redis_url).netloc.rpartition("@")[2]
    assert shown["database"]["address"].endswith(f"/{deployment.database_name}")
    if not deployment.servers.way:
        assert shown["redis"]["address"] == host_and_port
    for server in ("redis", "database"):
        assert f" at {shown[server]['address']}, answers in" in shown["text"]


def test_orders_that_were_read_are_not_told_as_lost_by_a_server_that_was_started_again(
    own_deployment: Deployment, own_redis: LocalRedis
) -> None:
    """Proves it though the group's counter of reads, unlike its place, does not come back with the server."""
    own_deployment.submit(numbered_orders(20))
    with running(own_deployment):
        eventually(own_deployment.all_settled)
        own_redis.stop()
        own_redis.start()
        before = look(own_deployment)
        own_deployment.submit([{**order, "order_id": "after"} for order in numbered_orders(1)])
        eventually(own_deployment.all_settled)
        after = look(own_deployment)

    for shown in (before, after):
        assert (shown["redis"]["lost_unread"] or 0, shown["redis"]["lost_unnoticed"]) == (0, 0)
        assert "lost_unread" not in names(shown)
