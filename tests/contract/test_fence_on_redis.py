"""The fence of a channel: what is heard is added at one server alone, at another one only after a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from local import LocalRedis
from tests.harness import Deployment, Servers, eventually
from worker.bootstrap.parts.connections import redis_link
from worker.domain.channels import Batch
from worker.stream import Channel
from worker.stream import channel as channel_module

HERE, THERE = "1" * 40, "2" * 40
STRETCH = "a" * 32


@contextmanager
def opened(deployment: Deployment) -> Iterator[Channel]:
    with redis_link(deployment.settings("bridge"), deployment.name) as link:
        yield Channel(link, deployment.key("legacy"), deployment.orders)


@pytest.fixture
def channel(deployment: Deployment) -> Iterator[Channel]:
    with opened(deployment) as made:
        yield made


def added(deployment: Deployment) -> list[bytes]:
    return [dict(fields)["payload"] for _, fields in deployment.entries(deployment.orders)]


def fence_key(deployment: Deployment) -> str:
    return f"{deployment.orders}:bridge:{deployment.key('legacy')}:server"


def test_first_bridge_of_a_channel_and_all_others_at_its_server_go_on_at_once(channel: Channel) -> None:
    fences = [channel.fence(HERE) for _ in range(3)]

    assert len(set(fences)) == 1
    assert fences[0].name.startswith(f"{HERE}:")
    assert fences[0].wait_s == 0


def test_whoever_moves_a_channel_and_all_who_come_soon_after_wait(channel: Channel) -> None:
    before = channel.fence(HERE)
    moved = channel.fence(THERE)
    soon = channel.fence(THERE)
    eventually(lambda: channel.fence(THERE).wait_s == 0)

    assert moved.name.startswith(f"{THERE}:")
    assert moved.wait_s == channel_module.MOVED_MS / 1000
    assert (soon.name, 0 < soon.wait_s <= moved.wait_s) == (moved.name, True)
    assert before.name != moved.name


def test_what_was_heard_at_the_server_of_before_is_not_added(
    deployment: Deployment, channel: Channel
) -> None:
    old = channel.fence(HERE)
    in_time = channel.add(Batch(STRETCH, 1, [b"a"], old.name))
    new = channel.fence(THERE)

    refused = channel.add(Batch(STRETCH, 2, [b"b"], old.name))
    # That it was added before says nothing either: at two servers the same numbers are other messages.
    known = channel.add(Batch(STRETCH, 1, [b"a"], old.name))
    taken = channel.add(Batch("b" * 32, 1, [b"c"], new.name))

    assert (in_time, refused, known, taken) == (1, None, None, 1)
    assert added(deployment) == [b"a", b"c"]


def test_what_waits_since_before_two_moves_is_not_added_when_the_channel_is_back(
    deployment: Deployment, channel: Channel
) -> None:
    old = channel.fence(HERE)
    channel.fence(THERE)
    back = channel.fence(HERE)

    assert back.name.startswith(f"{HERE}:")
    assert channel.add(Batch(STRETCH, 1, [b"a"], old.name)) is None
    assert channel.add(Batch(STRETCH, 1, [b"a"], back.name)) == 1
    assert added(deployment) == [b"a"]


def test_batch_of_nothing_tells_whether_another_one_would_be_added(
    deployment: Deployment, channel: Channel
) -> None:
    old = channel.fence(HERE)
    in_time = channel.add(Batch(STRETCH, 1, [], old.name))
    channel.fence(THERE)

    assert (in_time, channel.add(Batch(STRETCH, 1, [], old.name))) == (0, None)
    assert deployment.redis.exists(deployment.orders) == 0


def test_connections_are_made_anew_after_a_refusal(deployment: Deployment) -> None:
    with redis_link(deployment.settings("bridge"), deployment.name) as link:
        channel = Channel(link, deployment.key("legacy"), deployment.orders)
        old = channel.fence(HERE)
        channel.fence(THERE)
        before = connections(deployment)

        channel.add(Batch(STRETCH, 1, [b"a"], old.name))
        link.call("PING")

        assert before
        assert before.isdisjoint(connections(deployment))


def connections(deployment: Deployment) -> set[str]:
    """Return which connections lead to Redis for this purpose: those who use them may not ask."""
    listed = deployment.redis.client_list()
    return {each["id"] for each in listed if each["name"] == f"orders-worker-{deployment.name}"}


def test_fence_that_was_lost_is_put_up_again_by_what_is_added_behind_it(
    deployment: Deployment, channel: Channel
) -> None:
    fence = channel.fence(HERE)
    deployment.redis.delete(fence_key(deployment))

    assert channel.add(Batch(STRETCH, 1, [b"a"], fence.name)) == 1
    assert channel.fence(HERE) == fence
    assert channel.fence(THERE).wait_s > 0


def test_fence_is_remembered_for_as_long_as_what_was_added_behind_it(
    deployment: Deployment, channel: Channel
) -> None:
    fence = channel.fence(HERE)
    deployment.redis.pexpire(fence_key(deployment), 60_000)
    channel.add(Batch(STRETCH, 1, [b"a"], fence.name))

    left: Any = deployment.redis.pttl(fence_key(deployment))
    of_numbers: Any = deployment.redis.pttl(f"{deployment.orders}:bridge:{STRETCH}")

    assert left > 60_000
    assert abs(left - of_numbers) < 1000


def test_bridge_that_does_not_know_its_server_has_no_fence(deployment: Deployment, channel: Channel) -> None:
    none = channel.fence("")
    kept = deployment.redis.exists(fence_key(deployment))
    channel.fence(HERE)

    assert (none.name, none.wait_s, kept) == ("", 0, 0)
    assert channel.add(Batch(STRETCH, 1, [b"a"], none.name)) == 1


def test_subscription_knows_the_server_that_it_hears(own_redis: LocalRedis) -> None:
    servers = Servers(own_redis.url, "postgresql://nobody@127.0.0.1:1/none")
    with Deployment(servers, "own", "none") as made, opened(made) as channel:
        with channel.subscribed() as subscription:
            heard_at = subscription.server
        own_redis.kill()
        own_redis.start()
        with channel.subscribed() as subscription:
            afterwards = subscription.server

        assert afterwards == made.redis.info("server")["run_id"]
    # It is another one once it has started again: nobody knows that it is not somewhere else.
    assert heard_at != afterwards


def test_bridge_that_may_not_ask_for_its_server_says_so_once_and_hears(own_redis: LocalRedis) -> None:
    with redis.Redis.from_url(own_redis.url) as admin:
        rules = ["on", ">pass", "resetchannels", "&*", "~*", "+@all", "-info"]
        admin.execute_command("ACL", "SETUSER", "bridge", *rules)
    url = own_redis.url.replace("redis://:", "redis://bridge:").replace(own_redis.password, "pass")
    with (
        Deployment(Servers(url, "postgresql://nobody@127.0.0.1:1/none"), "own", "none") as made,
        opened(made) as channel,
        capture_logs() as logs,
    ):
        for _ in range(2):
            with channel.subscribed() as subscription:
                assert subscription.server == ""
                made.redis.publish(made.key("legacy"), "a")
                assert [each.data for each in subscription.read(5)] == [b"a"]

    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("warning", channel_module.NOT_KNOWN_WHERE)
    ]
