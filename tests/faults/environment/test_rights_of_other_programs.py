"""Programs that join in, and those that watch, have the users that deploy/ gives them, and need all of it."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any, TypeAlias

import pytest
import redis.asyncio

from tests.accounts import with_user
from tests.clients import PATIENCE_S
from tests.faults.environment.documented import PASSWORD, Documented, rows
from tests.faults.environment.test_rights_one_by_one import EVERY_ATTEMPT, NOT_GIVEN
from tests.harness import busyness, eventually
from tests.inprocess import running
from tests.rights import commands, patterns
from worker.client import (
    Added,
    AsyncProducer,
    AsyncResults,
    Buried,
    Order,
    Producer,
    Results,
    Status,
    Unconfirmed,
    Unsupported,
    connect,
    connect_async,
)

Attempts: TypeAlias = Mapping[str, Callable[[], object]]

STREAMS = ("orders", "order_results", "orders:dead")
# One that has read, one that is not there, and one whose lag no server knows.
GROUPS = ("execution", "none", "behind")
TABLE = "Other programs, without"
# Of what is found at once, if at all.
SOON_S = 4.0
# Long before it, what answers a duplicate was published.
LONG_AFTER = f"{2**42}-0"
LEASE: dict[str, Any] = {"lease_ms": 60_000, "transaction_timeout_s": 20}
numbers = count()


def order(**more: Any) -> Order:
    """Return another order."""
    new = {"order_id": f"joined-{next(numbers)}"}
    return Order(**{"symbol": "X", "side": "BUY", "quantity": 1, "price": 2, **new, **more})


@pytest.fixture
def at_work(migrated: Documented) -> Iterator[Documented]:
    """A worker that fills every order, and users that may all that the files and the page say."""
    migrated.admit("orders-producer", fsynced=migrated.can_fsync)
    with (
        migrated.entered("orders-worker", "orders_worker") as worker,
        running(worker, paper_success_rate=1, **LEASE),
    ):
        yield migrated


@pytest.fixture
def client(at_work: Documented) -> Iterator[Callable[[str], redis.Redis]]:
    """What makes the client of a user."""
    made = []

    def client_of(user: str) -> redis.Redis:
        made.append(connect(with_user(at_work.redis_server.url, user, PASSWORD)))
        return made[-1]

    yield client_of
    for each in made:
        each.close()


def test_programs_that_join_in_need_the_rights_of_the_files_and_no_others(
    at_work: Documented, client: Callable[[str], redis.Redis]
) -> None:
    producing, awaiting, reading = map(client, ("orders-producer", "orders-awaiter", "orders-reader"))
    producer, results, reader = Producer(producing, most_waiting=100), Results(awaiting), Results(reading)
    at_work.administrator.redis.acl_log_reset()

    for each in options(producing, at_work).values():
        with suppress(Unconfirmed):
            each()
    added = producer.add(order(order_id="first"))
    assert results.of(added, timeout_s=PATIENCE_S).status is Status.FILLED
    again = replace(producer.add(order(order_id="first")), since=LONG_AFTER)
    assert results.of(again, timeout_s=PATIENCE_S).order_id == "first"
    with pytest.raises(Buried, match="conflict"):
        results.of(producer.add(order(order_id="first", quantity=2)), timeout_s=PATIENCE_S)
    left = next(reader.read("ledger", "dies"))
    mine = [each.order_id for each in reader.read("ledger", "lives", wait_s=0.5, claim_after_s=0.05)]

    assert left.order_id in mine
    assert "first" in mine
    assert at_work.refused() == set()


def test_programs_with_asyncio_need_the_same(at_work: Documented) -> None:
    async def join_in() -> list[str]:
        url = at_work.redis_server.url
        producing, awaiting, reading = (
            connect_async(with_user(url, user, PASSWORD))
            for user in ("orders-producer", "orders-awaiter", "orders-reader")
        )
        async with producing, awaiting, reading:
            producer, results = AsyncProducer(producing, most_waiting=100), AsyncResults(awaiting)
            with suppress(Unconfirmed):
                await AsyncProducer(producing, replicas=1, confirmed_within_s=0.01).add(order())
            added = await producer.add(order(order_id="first"))
            first = await results.of(added, timeout_s=PATIENCE_S)
            again = replace(await producer.add(order(order_id="first")), since=LONG_AFTER)
            assert await results.of(again, timeout_s=PATIENCE_S) == first
            return [each.order_id async for each in AsyncResults(reading).read("ledger", "one", wait_s=0.5)]

    at_work.administrator.redis.acl_log_reset()

    assert "first" in asyncio.run(join_in())
    assert at_work.refused() == set()


def options(client: redis.Redis, documented: Documented) -> Attempts:
    """Return what adds an order in every way that a producer knows."""
    asked: dict[str, list[dict[str, Any]]] = {
        "all": [{}],
        "replicas": [{"replicas": 1, "confirmed_within_s": 0.01}],
        "most_waiting": [
            {"most_waiting": 10_000, "group": group} for group in ("execution", "none", "behind")
        ],
    }
    if documented.can_fsync:
        asked["fsynced"] = [{"fsynced": True}]
    return {name: partial(add_all, client, ways) for name, ways in asked.items()}


def add_all(client: redis.Redis, ways: list[dict[str, Any]]) -> None:
    for how in ways:
        Producer(client, attempts=1, **how).add(order())


def questions(client: redis.Redis, administrator: redis.Redis) -> Attempts:
    """Return what awaits a result that comes, and one that came long ago."""
    producer, results = Producer(administrator), Results(administrator)
    first = order()
    results.of(producer.add(first), timeout_s=PATIENCE_S)
    again = producer.add(first)
    results.of(again, timeout_s=PATIENCE_S)

    def await_result(added: Added) -> None:
        Results(client).of(added, timeout_s=SOON_S * busyness())

    return {
        "of orders": lambda: await_result(producer.add(order())),
        "of duplicates": lambda: await_result(replace(again, since=LONG_AFTER)),
    }


def readings(client: redis.Redis) -> Attempts:
    """Return what reads all results as a group that nobody knows yet."""

    def read() -> None:
        given = list(Results(client).read(f"ledger-{next(numbers)}", "one", wait_s=0))
        assert given

    return {"all": read}


def looks(client: redis.Redis) -> Attempts:
    """Return what others ask, by their source: the scaler redis-streams of KEDA, and redis_exporter."""
    asked: dict[str, list[tuple[str, ...]]] = {
        "pendingEntriesCount": [("PING",), ("XPENDING", "orders", "execution")],
        "streamLength": [("PING",), ("XLEN", "orders")],
        "lagCount": [("PING",), ("INFO",), ("XINFO", "GROUPS", "orders"), ("XLEN", "orders")],
        "redis_exporter": [("INFO", "ALL")],
    }
    for stream in STREAMS:
        asked["redis_exporter"] += [
            ("SELECT", "0"),
            ("XINFO", "STREAM", stream),
            ("XINFO", "GROUPS", stream),
            ("XINFO", "CONSUMERS", stream, "execution"),
        ]
    return {name: partial(ask_all, client, questions) for name, questions in asked.items()}


def ask_all(client: redis.Redis, questions: list[tuple[str, ...]]) -> None:
    for question in questions:
        client.execute_command(*question)  # type: ignore[no-untyped-call]


def refused(attempts: Attempts) -> str:
    """Return which attempts end with an error that says that something may not be done."""
    named = [name for name, attempt in attempts.items() if is_refused(attempt)]
    return EVERY_ATTEMPT if len(named) == len(attempts) or "all" in named else ", ".join(named)


def is_refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (redis.RedisError, TimeoutError, Unconfirmed, Unsupported) as error:
        return "no permissions" in str(error).lower()
    return False


@pytest.fixture
def crowded(at_work: Documented) -> Documented:
    """The same, with an order, a letter, and groups of which one has not read what was deleted."""
    administrator = at_work.administrator
    client = administrator.redis
    administrator.submit([{"type": "order", "symbol": "X", "side": "BUY", "quantity": "1"}] * 3)
    administrator.submit([{"type": "limit"}])
    eventually(lambda: administrator.all_settled() and client.xlen("order_results") == 3)
    client.xgroup_create("orders", "behind", "0")
    client.xdel("orders", administrator.accepted[1])
    for stream in STREAMS[1:]:
        client.xgroup_create(stream, "execution", "0")
    return at_work


def test_right_that_another_program_lacks_is_missed_where_the_page_says(
    crowded: Documented, client: Callable[[str], redis.Redis]
) -> None:
    asking = {
        "orders-producer": options(client("orders-producer"), crowded),
        "orders-awaiter": questions(client("orders-awaiter"), crowded.administrator.redis),
        "orders-reader": readings(client("orders-reader")),
        "orders-monitor": looks(client("orders-monitor")),
    }
    fsynced = crowded.can_fsync
    for column, (user, attempts) in enumerate(asking.items(), start=1):
        assert not refused(attempts)
        found = {}
        given = [f"+{each}" for each in commands(user, fsynced=fsynced)] + patterns(user)
        for rule in given:
            crowded.admit(user, without=rule, fsynced=fsynced)
            found[rule.removeprefix("+")] = refused(attempts)
        crowded.admit(user, fsynced=fsynced)

        assert found == told(column, fsynced=fsynced)


def told(column: int, *, fsynced: bool) -> dict[str, str]:
    """Return what a column of the page's table says, WAITAOF left out where the server has none."""
    cells = {cells[0]: cells[column] for cells in rows(TABLE) if cells[column] != NOT_GIVEN}
    return {right: cell for right, cell in cells.items() if fsynced or right != "waitaof"}
