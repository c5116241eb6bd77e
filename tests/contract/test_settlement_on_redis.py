"""What only a real Redis shows of settling: refused writes, Pub/Sub copies, lost scripts, the rehearsal."""

import json
from collections.abc import Iterator

import pytest
from msgspec.structs import replace
from redis.client import PubSub
from structlog.testing import capture_logs

from tests.accounts import with_user
from tests.contract.conftest import RealStreams
from tests.contract.test_settlement_contract import burial, publication
from tests.harness import Deployment
from worker.domain.deliveries import Settlement
from worker.domain.errors import AccessDenied, Outage
from worker.repair.restorations import restoration_of
from worker.stream import Mending, OrderStream, RedisLink, RedisNames, Rehearsal, Unpublished
from worker.stream.orders import MOST_BYTES_AT_ONCE

CHANNEL = "copies"


# Beyond any doubt that marks of that time are complete.
FAR_AHEAD = 10**15


@pytest.fixture
def one(real_streams: RealStreams) -> OrderStream:
    return real_streams.consumer("one")


def test_refused_result_takes_its_mark_back(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream
) -> None:
    entry_id = real_streams.add(b"symbol", b"A")
    one.read(1, 1)
    deployment.redis.set(deployment.results, "no stream")

    with pytest.raises(Outage, match="WRONGTYPE"):
        one.settle([publication(entry_id)], written_since_ms=FAR_AHEAD)
    still_pending = real_streams.pending()
    deployment.redis.delete(deployment.results)
    new = one.settle([publication(entry_id)], written_since_ms=FAR_AHEAD).new

    assert still_pending == {entry_id: ("one", 1)}
    assert new == 1
    assert len(real_streams.results()) == 1


def test_large_letters_among_results_are_settled_in_parts_and_none_trusts_marks_that_another_has_made(
    real_streams: RealStreams, one: OrderStream
) -> None:
    before, *rest = (real_streams.add(b"symbol", b"A") for _ in range(5))
    one.read(5, 1)
    letter = replace(burial(rest[0]), fields=["f", b"x" * MOST_BYTES_AT_ONCE])
    batch = [publication(rest[1]), letter, replace(letter, entry_id=rest[2]), publication(rest[3])]

    known = one.settle([publication(before)], written_since_ms=1000)
    real_streams.lose_marks()
    lost = one.settle(batch, written_since_ms=1000)

    assert known.new == 1
    assert {rest[1], rest[3]} <= set(lost.in_doubt)
    assert len(real_streams.results()) == 1


def test_refused_letter_takes_its_mark_back_and_leaves_what_was_settled_before_it(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream
) -> None:
    first, second = (real_streams.add(b"symbol", b"A") for _ in range(2))
    one.read(2, 1)
    deployment.redis.set(deployment.dead_letters, "no stream")
    batch = [publication(first), burial(second)]

    with pytest.raises(Outage, match="WRONGTYPE"):
        one.settle(batch, written_since_ms=FAR_AHEAD)
    deployment.redis.delete(deployment.dead_letters)
    new = one.settle(batch, written_since_ms=FAR_AHEAD).new

    assert new == 1
    assert (len(real_streams.results()), len(real_streams.letters())) == (1, 1)
    assert real_streams.pending() == {}


def test_letter_of_more_fields_than_a_command_takes_does_not_leave_a_mark_without_a_letter(
    real_streams: RealStreams, one: OrderStream
) -> None:
    entry_id = real_streams.add(b"symbol", b"A")
    one.read(1, 1)
    too_many = burial(entry_id, *(b"x" for _ in range(10_000)))

    with pytest.raises(Outage):
        one.settle([too_many])
    new = one.settle([burial(entry_id, "reason", "too_large")]).new

    assert new == 1


def test_result_is_copied_to_the_channel_once(
    deployment: Deployment, real_streams: RealStreams, listener: PubSub
) -> None:
    entry_id = real_streams.add(b"symbol", b"A")
    one = real_streams.consumer("one", channel=deployment.key(CHANNEL))
    copy = json.dumps({"order_id": "ü"}, ensure_ascii=False)
    settlement = Settlement(entry_id, "publish", ["order_id", "ü"], copy)

    one.settle([settlement])
    one.settle([settlement])
    one.settle([Settlement(entry_id, "publish", ["last", "one"], "end")])

    assert heard(listener) == [copy]


def test_letter_is_not_copied_to_the_channel(
    deployment: Deployment, real_streams: RealStreams, listener: PubSub
) -> None:
    entry_id = real_streams.add(b"symbol", b"A")

    real_streams.consumer("one", channel=deployment.key(CHANNEL)).settle([burial(entry_id)])

    assert heard(listener) == []


def test_script_is_sent_again_when_the_server_forgot_it(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream
) -> None:
    first, second = (real_streams.add(b"symbol", b"A") for _ in range(2))
    one.settle([publication(first)])
    deployment.redis.script_flush()

    new = one.settle([publication(second)]).new

    assert new == 1


def test_wrong_type_at_the_orders_stream_is_an_outage(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream
) -> None:
    real_streams.delete_stream()
    deployment.redis.set(deployment.orders, "no stream")

    with pytest.raises(Outage, match="WRONGTYPE"):
        one.read(1, 1)
    with pytest.raises(Outage, match="WRONGTYPE"):
        one.ensure_group()


def test_closed_port_is_an_outage() -> None:
    link = RedisLink("redis://127.0.0.1:1/0", block_ms=10, client_name="contract")
    names = RedisNames("o", "r", "d", "o", "g", "c")
    nowhere = OrderStream(link, names, lease_ms=1000, results_channel=None)

    with pytest.raises(Outage):
        nowhere.ping()
    with pytest.raises(Outage):
        nowhere.settle([publication("1-1")])


def test_rehearsal_leaves_nothing_behind_and_touches_no_real_key(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream
) -> None:
    entry_id = real_streams.add(b"symbol", b"A")
    keys = deployment.all_keys()

    channel = deployment.key(CHANNEL)
    Rehearsal(real_streams.link, real_streams.names("one"), lease_ms=1000, results_channel=channel).run()

    assert deployment.all_keys() == keys
    assert real_streams.pending() == {}
    assert [each.entry_id for each in one.read(10, 1)] == [entry_id]


@pytest.fixture
def muted(deployment: Deployment) -> Iterator[RedisLink]:
    """A user who may do everything but publish on the channel."""
    name, password = f"muted-{deployment.name}", "S3NT1NEL"
    allowed = (f">{password}", "on", "~*", "resetchannels", f"&{deployment.key('other')}", "+@all")
    deployment.redis.execute_command("ACL", "SETUSER", name, *allowed)  # type: ignore[no-untyped-call]
    link = RedisLink(
        with_user(deployment.servers.redis_url, name, password), block_ms=100, client_name="muted"
    )
    yield link
    link.close()
    deployment.redis.execute_command("ACL", "DELUSER", name)  # type: ignore[no-untyped-call]


def test_result_that_may_not_be_published_is_settled_counted_and_told(
    deployment: Deployment, real_streams: RealStreams, muted: RedisLink
) -> None:
    first, second = (real_streams.add(b"symbol", b"A") for _ in range(2))
    unpublished, names = Unpublished(), real_streams.names("one")
    channel = deployment.key(CHANNEL)
    one = OrderStream(muted, names, lease_ms=1000, results_channel=channel, unpublished=unpublished)
    mending = Mending(muted, names, lease_ms=1000, results_channel=channel, unpublished=unpublished)
    one.read(1, 1)

    with capture_logs() as logged:
        new = one.settle([publication(first)], written_since_ms=FAR_AHEAD).new
        (done,) = mending.restore([restoration_of(replace(publication(second), stands_since_ms=FAR_AHEAD))])

    assert (new, done, len(real_streams.results())) == (1, True, 2)
    assert unpublished.count == 2
    told = [each for each in logged if "not published on the channel" in each["event"]]
    assert [(each["results"], each["channel"]) for each in told] == [(1, channel)] * 2
    assert all(each["reason"] for each in told)


def test_rehearsal_refuses_a_channel_that_may_not_be_published_on_and_no_other(
    deployment: Deployment, real_streams: RealStreams, muted: RedisLink
) -> None:
    def rehearse(channel: str) -> None:
        Rehearsal(muted, real_streams.names("one"), lease_ms=1000, results_channel=channel).run()

    rehearse(deployment.key("other"))
    with pytest.raises(AccessDenied, match="channel"):
        rehearse(deployment.key(CHANNEL))


def test_rehearsal_publishes_nothing(
    deployment: Deployment, real_streams: RealStreams, listener: PubSub
) -> None:
    channel = deployment.key(CHANNEL)

    Rehearsal(real_streams.link, real_streams.names("one"), lease_ms=1000, results_channel=channel).run()

    assert heard(listener) == []


@pytest.fixture
def listener(deployment: Deployment) -> Iterator[PubSub]:
    pubsub = deployment.redis.pubsub()  # type: ignore[no-untyped-call]
    pubsub.subscribe(deployment.key(CHANNEL))
    pubsub.get_message(timeout=5)
    yield pubsub
    pubsub.close()


def heard(listener: PubSub) -> list[str]:
    """Return what was published: a publication reaches its listeners before the script returns."""
    found = []
    while (message := listener.get_message(timeout=0.2)) is not None:
        found.append(message["data"].decode())
    return found
