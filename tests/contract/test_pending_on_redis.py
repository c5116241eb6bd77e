"""What a real Redis does when pending entries are listed and made claimable."""

from collections.abc import Iterator

import pytest

from tests.contract.conftest import LEASE_MS, RealStreams
from tests.harness import Deployment, eventually, names_of
from worker.domain.deliveries import MOST_DELIVERIES
from worker.stream import OrderStream, PendingEntries, PendingEntry, Readied, RedisLink


@pytest.fixture
def one(real_streams: RealStreams) -> OrderStream:
    return real_streams.consumer("one")


@pytest.fixture
def listed(deployment: Deployment) -> Iterator[PendingEntries]:
    link = RedisLink(deployment.redis_url(), block_ms=100, client_name="contract", a_key=deployment.orders)
    names = names_of(deployment, "asks")
    yield PendingEntries(link, names, lease_ms=LEASE_MS)
    link.close()


def all_of(listed: PendingEntries, *, idle_ms: int = 0, consumer: bytes | None = None) -> list[PendingEntry]:
    return listed.page(until="+", consumer=consumer, idle_ms=idle_ms, count=1000)


def idle(deployment: Deployment, entry_id: str, consumer: str, milliseconds: int) -> None:
    deployment.redis.xclaim(
        deployment.orders, deployment.group, consumer, 0, [entry_id], idle=milliseconds, justid=True
    )


def taken(streams: RealStreams, stream: OrderStream, count: int) -> list[str]:
    ids = [streams.add(b"symbol", b"A") for _ in range(count)]
    assert [each.entry_id for each in stream.read(count, 1)] == ids
    return ids


def test_entry_made_claimable_is_claimed_at_once_at_its_delivery_count(
    real_streams: RealStreams, one: OrderStream, listed: PendingEntries
) -> None:
    (entry_id,) = taken(real_streams, one, 1)
    one.charge({entry_id: 3})
    another = real_streams.consumer("another")
    before = another.claim("0-0", 10).deliveries

    done = listed.make_claimable(all_of(listed))
    still = real_streams.pending()
    after = another.claim("0-0", 10).deliveries

    assert done == Readied(made=1)
    assert list(before) == []
    assert still == {entry_id: ("one", 3)}
    assert [(each.entry_id, each.count, each.charged) for each in after] == [(entry_id, 3, False)]


@pytest.mark.parametrize("claimed_once_more", [False, True])
def test_count_that_somebody_has_set_to_the_most_there_is_is_told_as_none_of_ours(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream, *, claimed_once_more: bool
) -> None:
    (entry_id,) = taken(real_streams, one, 1)
    key, group = deployment.orders, deployment.group
    deployment.redis.xclaim(key, group, "x", 0, [entry_id], time=0, retrycount=2**63 - 1, justid=True)
    if claimed_once_more:
        deployment.redis.xclaim(key, group, "x", 0, [entry_id], time=0)

    (claimed,) = real_streams.consumer("another").claim("0-0", 10).deliveries
    (pending,) = real_streams.consumer("another").own_pending(10, known=())

    # The most there is may be told as one more: that is how Lua rounds it.
    assert claimed.count in ({-(2**63)} if claimed_once_more else {2**63 - 1, 2**63})
    assert pending.count == (-(2**63) if claimed_once_more else 2**63 - 1)
    assert not 0 <= claimed.count <= MOST_DELIVERIES


def test_what_is_made_claimable_is_looked_for_at_once(
    real_streams: RealStreams, one: OrderStream, listed: PendingEntries
) -> None:
    taken(real_streams, one, 1)
    assert real_streams.consumer("looks").begin_look()
    assert not real_streams.consumer("another").begin_look()

    listed.make_claimable(all_of(listed))

    assert real_streams.consumer("another").begin_look()


def test_entry_renewed_since_it_was_listed_is_left_to_its_owner(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream, listed: PendingEntries
) -> None:
    (entry_id,) = taken(real_streams, one, 1)
    idle(deployment, entry_id, "one", LEASE_MS - 1000)
    found = all_of(listed)
    one.renew([entry_id])

    done = listed.make_claimable(found)

    assert done == Readied(left=1)
    assert list(real_streams.consumer("another").claim("0-0", 10).deliveries) == []


def test_entry_that_another_consumer_claimed_since_it_was_listed_is_left_alone(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream, listed: PendingEntries
) -> None:
    (entry_id,) = taken(real_streams, one, 1)
    found = all_of(listed)
    idle(deployment, entry_id, "another", 20_000)

    done = listed.make_claimable(found)

    assert done == Readied(left=1)
    assert real_streams.pending() == {entry_id: ("another", 1)}
    assert all_of(listed)[0].idle_ms < LEASE_MS


def test_entry_that_was_acked_since_it_was_listed_is_not_pending_again(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream, listed: PendingEntries
) -> None:
    (entry_id,) = taken(real_streams, one, 1)
    found = all_of(listed)
    deployment.redis.xack(deployment.orders, deployment.group, entry_id)

    done = listed.make_claimable(found)

    assert done == Readied(left=1)
    assert real_streams.pending() == {}


def test_entry_that_is_trimmed_is_left_to_its_lease(
    real_streams: RealStreams, one: OrderStream, listed: PendingEntries
) -> None:
    trimmed, kept = taken(real_streams, one, 2)
    found = all_of(listed)
    real_streams.delete(trimmed)

    done = listed.make_claimable(found)

    assert done == Readied(made=1, trimmed=1)
    assert real_streams.pending() == {trimmed: ("one", 1), kept: ("one", 1)}


def test_making_claimable_twice_changes_nothing_more(
    real_streams: RealStreams, one: OrderStream, listed: PendingEntries
) -> None:
    taken(real_streams, one, 3)

    first = listed.make_claimable(all_of(listed))
    between = real_streams.pending()
    second = listed.make_claimable(all_of(listed))

    assert (first, second) == (Readied(made=3), Readied(already=3))
    assert real_streams.pending() == between


def test_entry_idle_for_longer_than_the_lease_stays_as_old_as_it_is(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream, listed: PendingEntries
) -> None:
    (entry_id,) = taken(real_streams, one, 1)
    idle(deployment, entry_id, "one", 10 * LEASE_MS)

    done = listed.make_claimable(all_of(listed))

    assert done == Readied(already=1)
    assert all_of(listed)[0].idle_ms >= 10 * LEASE_MS


def test_pending_entries_are_listed_by_consumer_idle_time_and_place(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream, listed: PendingEntries
) -> None:
    first, second = taken(real_streams, one, 2)
    (third,) = taken(real_streams, real_streams.consumer("two"), 1)
    idle(deployment, second, "one", 5000)

    assert [each.entry_id for each in all_of(listed)] == [first, second, third]
    assert [each.entry_id for each in all_of(listed, consumer=b"two")] == [third]
    assert [each.entry_id for each in all_of(listed, idle_ms=4000)] == [second]
    after = listed.page(first, until=second, consumer=None, idle_ms=0, count=10)
    assert [each.entry_id for each in after] == [second]
    found = listed.find([third, "1-1", first])
    assert [each and each.consumer for each in found] == [b"two", None, b"one"]
    assert [(each.name, each.pending) for each in listed.consumers()] == [("one", 2), ("two", 1)]


@pytest.mark.parametrize("gone", ["group", "stream"])
def test_nothing_is_pending_without_the_group(
    real_streams: RealStreams, one: OrderStream, listed: PendingEntries, gone: str
) -> None:
    (entry_id,) = taken(real_streams, one, 1)
    found = all_of(listed)
    if gone == "group":
        real_streams.destroy_group()
    else:
        real_streams.delete_stream()

    assert (all_of(listed), listed.find([entry_id]), listed.consumers()) == ([], [None], [])
    assert listed.make_claimable(found) == Readied(left=1)


def test_replica_is_heard_of_whenever_it_asks_whether_to_look_for_abandoned_entries(
    deployment: Deployment, real_streams: RealStreams, listed: PendingEntries
) -> None:
    real_streams.consumer("looks").begin_look()
    real_streams.consumer("looks").leave()
    idle = real_streams.consumer("idle")
    idle.begin_look()
    eventually(lambda: listed.consumers()[0].idle_ms > 100)

    assert not idle.begin_look()

    (heard,) = listed.consumers()
    assert (heard.name, heard.pending) == ("idle", 0)
    assert heard.idle_ms < 100
    assert deployment.pending() == 0
