"""Replicas of the version before mark a letter by the id of its entry alone, and this one by what it held.

Whichever of the two slept while the other buried an entry writes no second letter of it.
"""

from typing import Any

import pytest
from msgspec.structs import replace

from tests.contract.conftest import RealStreams
from tests.contract.test_settlement_contract import burial, publication
from tests.harness import Deployment
from worker.domain.deliveries import Settlement
from worker.stream import OrderStream

FAR_AHEAD = 10**15
JUNK = (b"symbol", b"A")


@pytest.fixture
def one(real_streams: RealStreams) -> OrderStream:
    return real_streams.consumer("one")


def letter(entry_id: str, digest: str = "abc") -> Settlement:
    """Return the letter of an entry that owns no row."""
    return replace(burial(entry_id), mark=f"{entry_id}:{digest}")


def settle(one: OrderStream, *settlements: Settlement) -> int:
    return one.settle(settlements, written_since_ms=FAR_AHEAD).new


def settles_as_before(deployment: Deployment, entry_id: str, stream: str) -> bool:
    """Do what a settle of the version before does; return whether it wrote anything."""
    redis: Any = deployment.redis
    new = redis.zscore(deployment.marks_of_before, entry_id) is None
    if new:
        redis.zadd(deployment.marks_of_before, {entry_id: int(entry_id.partition("-")[0])})
        redis.xadd(stream, {"entry_id": entry_id})
    redis.xack(deployment.orders, deployment.group, entry_id)
    return new


def given_again(deployment: Deployment, real_streams: RealStreams, one: OrderStream, entry_id: str) -> None:
    """Have somebody delete the stream, and another entry come under an id of before."""
    deployment.redis.delete(deployment.orders)
    one.ensure_group()
    real_streams.add_under(entry_id, *JUNK)
    one.read(1, 1)


@pytest.fixture
def taken(real_streams: RealStreams, one: OrderStream) -> str:
    """An entry in the hands of a replica."""
    entry_id = real_streams.add(*JUNK)
    one.read(1, 1)
    return entry_id


def test_letter_of_the_version_before_is_the_only_one_when_this_one_slept(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream, taken: str
) -> None:
    settles_as_before(deployment, taken, deployment.dead_letters)

    assert settle(one, letter(taken)) == 0
    assert len(real_streams.letters()) == 1


def test_letter_is_the_only_one_when_the_version_before_slept(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream, taken: str
) -> None:
    assert settle(one, letter(taken)) == 1

    assert not settles_as_before(deployment, taken, deployment.dead_letters)
    assert len(real_streams.letters()) == 1


def test_entry_that_came_with_an_id_of_the_version_before_is_buried(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream, taken: str
) -> None:
    settles_as_before(deployment, taken, deployment.results)

    given_again(deployment, real_streams, one, taken)

    assert settle(one, letter(taken)) == 1
    assert len(real_streams.letters()) == 1


def test_order_that_came_with_the_id_of_a_buried_entry_has_its_result(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream, taken: str
) -> None:
    """Proves that the mark made for the version before is not taken for that of a row."""
    settle(one, letter(taken))

    given_again(deployment, real_streams, one, taken)

    assert settle(one, publication(taken)) == 1
    assert settle(one, publication(taken)) == 0
    assert len(real_streams.results()) == 1


def test_result_of_the_version_before_stays_the_only_one_when_an_entry_of_its_id_is_buried(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream, taken: str
) -> None:
    settles_as_before(deployment, taken, deployment.results)
    given_again(deployment, real_streams, one, taken)
    settle(one, letter(taken))

    assert settle(one, publication(taken)) == 0
    assert len(real_streams.results()) == 1


def test_letter_of_an_entry_of_the_same_id_is_written_whoever_buried_the_first(
    deployment: Deployment, real_streams: RealStreams, one: OrderStream, taken: str
) -> None:
    settle(one, letter(taken))
    given_again(deployment, real_streams, one, taken)

    assert settle(one, letter(taken, "def")) == 1
    assert len(real_streams.letters()) == 2


def test_refused_letter_takes_back_the_mark_that_was_made_for_the_version_before(
    deployment: Deployment, one: OrderStream, taken: str
) -> None:
    deployment.redis.set(deployment.dead_letters, "no stream")
    with pytest.raises(Exception, match="WRONGTYPE"):
        settle(one, letter(taken))
    deployment.redis.delete(deployment.dead_letters)

    assert settles_as_before(deployment, taken, deployment.dead_letters)


def test_row_of_an_entry_with_the_id_of_a_buried_one_is_not_taken_for_published(
    real_streams: RealStreams, one: OrderStream, taken: str
) -> None:
    settle(one, letter(taken))

    fates = real_streams.evidence().fates([taken, f"{taken}:abc"])

    assert [each.marked for each in fates.values()] == [False, True]
