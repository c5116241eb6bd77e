"""The bridge on a real Redis: bytes as they are, each once, whatever is cut, refused or never answered."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from local import LocalRedis
from tests.harness import Deployment, Servers, eventually
from worker.bootstrap.bridge import add_what_is_published
from worker.bootstrap.parts.connections import redis_link
from worker.bridge import Backlog, Bridge
from worker.domain.channels import Batch, Heard
from worker.domain.errors import AccessDenied, ConfigurationError, Outage
from worker.stream import Channel
from worker.stream import channel as channel_module
from worker.stream.channel import Subscription

STRETCH = "1" * 32
LAST_ID_BUT_ONE = "18446744073709551615-18446744073709551614"
JUNK = [
    b"",
    b"\0",
    b"\xff\xfe invalid UTF-8 \xc3\x28",
    b"not JSON at all",
    b'{"symbol": "A"',
    b'{"reason": "\xc3\xa9\r\n\x1b[2J"}',
    b"*3\r\n$3\r\nDEL\r\n",
    b"x" * 5_000_000,
]


@contextmanager
def opened(deployment: Deployment, name: str | None = None) -> Iterator[Channel]:
    with redis_link(deployment.settings("bridge"), "bridge") as link:
        yield Channel(link, name or legacy(deployment), deployment.orders)


def legacy(deployment: Deployment) -> str:
    return deployment.key("legacy")


def added(deployment: Deployment) -> list[bytes]:
    entries = deployment.entries(deployment.orders)
    assert {tuple(name for name, _ in fields) for _, fields in entries} <= {("payload",)}
    return [fields[0][1] for _, fields in entries]


@contextmanager
def bridges(deployment: Deployment, count: int = 1, most_bytes: int = 100_000_000) -> Iterator[list[Bridge]]:
    with redis_link(deployment.settings("bridge"), "bridge") as link:
        channel = Channel(link, legacy(deployment), deployment.orders)
        made = [Bridge(channel, Backlog(most_bytes), drain_s=10) for _ in range(count)]
        threads = [threading.Thread(target=bridge.run, daemon=True) for bridge in made]
        for thread in threads:
            thread.start()
        eventually(lambda: all(bridge.hears for bridge in made))
        try:
            yield made
        finally:
            for bridge in made:
                bridge.leave()
            for thread in threads:
                thread.join(timeout=20)
                assert not thread.is_alive()


def listening(deployment: Deployment) -> int:
    """How many are subscribed to the channel."""
    return int(deployment.redis.pubsub_numsub(legacy(deployment))[0][1])


def cut_all(deployment: Deployment) -> None:
    """Cut every subscription to this channel, as Redis does with a slow one."""
    for client in deployment.redis.client_list(_type="pubsub"):
        deployment.redis.client_kill_filter(_id=client["id"])


def all_is_sent(deployment: Deployment) -> bool:
    """Whether nothing waits at the server for those who listen."""
    heard = deployment.redis.client_list(_type="pubsub")
    return all(each[kind] == "0" for each in heard for kind in ("obl", "omem"))


def cut_oldest(deployment: Deployment) -> None:
    """Cut the subscription that has lasted longest."""
    # Whoever watches the server listens, too.
    heard = deployment.redis.client_list(_type="pubsub")
    found = [client for client in heard if client["name"].startswith("orders-worker-")]
    deployment.redis.client_kill_filter(_id=min(found, key=lambda client: int(client["id"]))["id"])


def all_hear(made: list[Bridge], cuts: int) -> bool:
    """Whether so many cuts have been noticed, and all are back."""
    return sum(bridge.account.gaps for bridge in made) == cuts and all(bridge.hears for bridge in made)


def read_on(subscription: Subscription, heard: list[bytes]) -> None:
    while True:
        heard += [each.data for each in subscription.read(0.06)]


def publish(deployment: Deployment, messages: list[bytes]) -> None:
    with deployment.redis.pipeline(transaction=False) as pipeline:
        for message in messages:
            pipeline.publish(legacy(deployment), message)
        pipeline.execute()


@pytest.mark.parametrize("policy", ["volatile-lru", "allkeys-lru"])
def test_bridge_is_refused_where_its_numbers_may_be_evicted(
    own_redis: LocalRedis, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """Proves that numbers may not go while a bridge is behind: it would add once more what others have."""
    monkeypatch.setattr(Bridge, "run", lambda _bridge: None)
    with Deployment(Servers(own_redis.url, "postgresql://nobody@127.0.0.1:1/none"), "own", "none") as made:
        made.redis.config_set("maxmemory-policy", policy)
        made.redis.config_set("maxmemory", 1_000_000_000)

        with pytest.raises(ConfigurationError, match=rf"{policy}.*WORKER_ALLOW_EVICTION=1"):
            add_what_is_published(made.settings("bridge"), legacy(made), most_bytes=1_000_000)


def test_batch_that_is_added_again_is_added_once(deployment: Deployment) -> None:
    batch = Batch(STRETCH, 1, [b"a", b"b", b"c"])

    with opened(deployment) as channel:
        first = [channel.add(batch), channel.add(batch)]
        overlapping = channel.add(Batch(STRETCH, 2, [b"b", b"c", b"d"]))
        behind = channel.add(Batch(STRETCH, 1, [b"a"]))
        other = channel.add(Batch("2" * 32, 1, [b"a"]))

    assert (first, overlapping, behind, other) == ([3, 0], 1, 0, 1)
    assert added(deployment) == [b"a", b"b", b"c", b"d", b"a"]


def test_batch_that_was_refused_half_way_goes_on_where_it_stopped(deployment: Deployment) -> None:
    deployment.add_raw("payload", b"before")
    deployment.redis.execute_command(  # type: ignore[no-untyped-call]
        "XSETID", deployment.orders, LAST_ID_BUT_ONE
    )
    batch = Batch(STRETCH, 1, [b"a", b"b", b"c"])

    with opened(deployment) as channel:
        with pytest.raises(Outage, match="last possible ID"):
            channel.add(batch)
        half = added(deployment)
        deployment.redis.delete(deployment.orders)
        rest = channel.add(batch)

    assert half == [b"before", b"a"]
    assert (rest, added(deployment)) == (2, [b"b", b"c"])


def test_message_is_added_once_when_the_answer_was_lost(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Channel.add
    lost = iter([True, True, True])

    def add_and_lose_the_answer(self: Channel, batch: Batch) -> int | None:
        count = add(self, batch)
        if next(lost, False):
            raise Outage("redis", "the answer was lost")
        return count

    monkeypatch.setattr(Channel, "add", add_and_lose_the_answer)
    with bridges(deployment):
        publish(deployment, [b"a", b"b"])
        eventually(lambda: next(lost, True))

    assert added(deployment) == [b"a", b"b"]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=200), max_size=20))
def test_any_bytes_are_added_as_they_are(deployment: Deployment, messages: list[bytes]) -> None:
    deployment.redis.delete(deployment.orders)
    with opened(deployment) as channel, channel.subscribed() as subscription:
        publish(deployment, messages)
        heard = [each.data for each in subscription.finish()]
        channel.add(Batch(f"{hash(tuple(messages)) % 2**128:032x}", 1, heard))
        kept: Any = deployment.redis.keys(f"{deployment.orders}:bridge:*")
        deployment.redis.delete(*kept or [deployment.key("none")])

    assert added(deployment) == messages


def test_junk_becomes_entries_byte_for_byte(deployment: Deployment) -> None:
    with bridges(deployment):
        publish(deployment, JUNK)
        eventually(lambda: len(added(deployment)) == len(JUNK))

    assert added(deployment) == JUNK


def test_all_that_came_before_a_cut_is_heard(deployment: Deployment) -> None:
    # As much as every kind of connection holds; what the server could not send yet goes with the connection.
    messages = [b"%d" % n for n in range(1200)]
    with opened(deployment) as channel, channel.subscribed() as subscription:
        publish(deployment, messages)
        eventually(lambda: all_is_sent(deployment))
        cut_all(deployment)

        heard: list[bytes] = []
        with pytest.raises(Outage):
            read_on(subscription, heard)

    assert heard == messages


def test_all_that_came_before_a_cut_is_heard_by_who_leaves(deployment: Deployment) -> None:
    messages = [b"%d" % n for n in range(1200)]
    with opened(deployment) as channel, channel.subscribed() as subscription:
        publish(deployment, messages)
        eventually(lambda: all_is_sent(deployment))
        cut_all(deployment)

        with capture_logs() as logs:
            heard = [each.data for each in subscription.finish()]

    assert heard == messages
    assert "cut off while leaving the channel" in [each["event"] for each in logs]


def test_who_leaves_hears_all_however_long_that_takes(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "ANSWER_TIMEOUT_S", 0.2)
    monkeypatch.setattr(channel_module, "READ_MESSAGES", 10)
    read = Subscription.read
    messages = [b"%d" % n for n in range(100)]
    with opened(deployment) as channel, channel.subscribed() as subscription:

        def read_slowly(self: Subscription, wait_s: float) -> list[Heard]:
            time.sleep(0.05)
            return read(self, wait_s)

        monkeypatch.setattr(Subscription, "read", read_slowly)
        publish(deployment, messages)

        assert [each.data for each in subscription.finish()] == messages


def test_subscription_is_not_renewed_in_silence_after_a_cut(deployment: Deployment) -> None:
    with opened(deployment) as channel, channel.subscribed() as subscription:
        cut_all(deployment)
        for _ in range(2):
            with pytest.raises(Outage):
                subscription.read(1)

        assert listening(deployment) == 0


def test_server_that_says_nothing_is_an_outage(
    own_redis: LocalRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "PING_AFTER_S", 0.05)
    monkeypatch.setattr(channel_module, "ANSWER_TIMEOUT_S", 0.3)
    with (
        Deployment(Servers(own_redis.url, "postgresql://nobody@127.0.0.1:1/none"), "own", "none") as made,
        opened(made) as channel,
        channel.subscribed() as subscription,
    ):
        for _ in range(10):
            subscription.read(0.06)
        made.redis.client_pause(3_000)

        with pytest.raises(Outage, match="nothing was heard"):
            read_on(subscription, [])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_message_is_added_once_by_any_number_of_bridges(deployment: Deployment, count: int) -> None:
    messages = [b"%d" % n for n in range(10_000)]

    with bridges(deployment, count) as made:
        publish(deployment, messages)
        eventually(lambda: sum(bridge.account.received for bridge in made) == count * len(messages))

    assert added(deployment) == messages
    assert sum(bridge.account.added for bridge in made) == len(messages)
    assert sum(bridge.account.added_by_others for bridge in made) == (count - 1) * len(messages)


def test_nothing_is_added_twice_when_bridges_are_cut_off_again_and_again(deployment: Deployment) -> None:
    with bridges(deployment, 3) as made:
        for round_of in range(20):
            publish(deployment, [b"%d-%d" % (round_of, n) for n in range(500)])
            if round_of % 4 == 3:
                cut_all(deployment)
        eventually(lambda: listening(deployment) == 3)
        publish(deployment, [b"last"])
        eventually(lambda: b"last" in added(deployment))

    assert max(Counter(added(deployment)).values()) == 1
    for bridge in made:
        account = bridge.account
        accounted = account.added + account.added_by_others + account.left_to_others + account.lost
        assert (account.received, account.gaps > 0) == (accounted, True)


def test_what_one_bridge_misses_another_adds(deployment: Deployment) -> None:
    messages = [b"%d" % n for n in range(6000)]
    with bridges(deployment, 2) as made:
        for first in range(0, len(messages), 1000):
            publish(deployment, messages[first : first + 500])
            cuts = sum(bridge.account.gaps for bridge in made) + 1
            cut_oldest(deployment)
            publish(deployment, messages[first + 500 : first + 1000])
            eventually(lambda cuts=cuts: all_hear(made, cuts))  # type: ignore[misc]
        eventually(lambda: len(added(deployment)) == len(messages))

    assert sorted(added(deployment)) == sorted(messages)
    assert {bridge.account.gaps for bridge in made} == {3}


def test_what_redis_refuses_is_kept_and_added_in_order(own_redis: LocalRedis) -> None:
    messages = [b"%d" % n for n in range(3000)]
    servers = Servers(own_redis.url, "postgresql://nobody@127.0.0.1:1/none")
    with Deployment(servers, "own", "none") as made:
        with capture_logs() as logs, bridges(made):
            made.redis.config_set("maxmemory", 1)
            publish(made, messages)
            eventually(lambda: any(entry["event"] == "can't add, keeping what comes" for entry in logs))
            refused = made.redis.exists(made.orders)
            cut_all(made)
            made.redis.config_set("maxmemory", 0)
            eventually(lambda: len(added(made)) == len(messages))

        assert (refused, added(made)) == (0, messages)


def test_what_is_kept_is_added_when_redis_is_started_again(own_redis: LocalRedis) -> None:
    """Proves that a bridge which moves its channel to another server does not shut out what it has itself."""
    messages = [b"%d" % n for n in range(3000)]
    servers = Servers(own_redis.url, "postgresql://nobody@127.0.0.1:1/none")
    with Deployment(servers, "own", "none") as made:
        with bridges(made) as (bridge,):
            made.redis.config_set("maxmemory", 1)
            publish(made, messages)
            eventually(lambda: bridge.account.received == len(messages))
            own_redis.kill()
            own_redis.start()
            eventually(lambda: bridge.account.gaps == 1 and bridge.hears)
            publish(made, [b"last"])
            eventually(lambda: added(made)[-1:] == [b"last"])

        assert added(made) == [*messages, b"last"]
        assert bridge.account.lost == 0


def test_bridge_that_overflowed_goes_on_once_there_is_room(own_redis: LocalRedis) -> None:
    servers = Servers(own_redis.url, "postgresql://nobody@127.0.0.1:1/none")
    with Deployment(servers, "own", "none") as made:
        with bridges(made, most_bytes=100_000) as (bridge,):
            made.redis.config_set("maxmemory", 1)
            publish(made, [b"%d" % n for n in range(1000)])
            eventually(lambda: bridge.account.received == 1000)
            made.redis.config_set("maxmemory", 0)
            eventually(lambda: len(added(made)) + bridge.account.lost == 1000)
            eventually(lambda: heard_again(made, bridge))

        kept = [message for message in added(made) if message != b"again"]
        assert kept == [b"%d" % n for n in range(len(kept))]
        assert 0 < len(kept) < 1000


def heard_again(deployment: Deployment, bridge: Bridge) -> bool:
    before = bridge.account.added
    publish(deployment, [b"again"])
    eventually(lambda: bridge.account.received == bridge.account.added + bridge.account.lost)
    return bridge.account.added > before


def test_rehearsal_leaves_nothing_and_finds_what_is_no_stream(deployment: Deployment) -> None:
    with opened(deployment) as channel:
        channel.rehearse()
        left: Any = deployment.all_keys()
        deployment.redis.set(deployment.orders, "no stream")
        with pytest.raises(ConfigurationError, match="no stream but a string"):
            channel.rehearse()

    assert left == []


def test_missing_permissions_show_before_the_first_order(own_redis: LocalRedis) -> None:
    admin = redis.Redis.from_url(own_redis.url)
    rules = ["on", ">pass", "resetchannels", "~own:orders*", "+@all"]
    admin.execute_command("ACL", "SETUSER", "bridge", *rules, "&own:legacy")  # type: ignore[no-untyped-call]
    admin.close()
    url = own_redis.url.replace("redis://:", "redis://bridge:").replace(own_redis.password, "pass")
    with (
        Deployment(Servers(url, "postgresql://nobody@127.0.0.1:1/none"), "own", "none") as made,
        opened(made) as channel,
        pytest.raises(AccessDenied, match=r"channels?:? .*own:orders:bridge:own:legacy"),
    ):
        channel.rehearse()
