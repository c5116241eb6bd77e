"""Every turn of a fleet is one replica's at a time, and nobody's once that one was silent for its time."""

from collections.abc import Callable, Iterator
from unittest.mock import Mock

import pytest
import redis

from tests.fakes import FakeClock, FakeStream, FakeTurn
from tests.harness import Deployment, eventually, names_of
from worker.domain.ports import Turn
from worker.stream import RedisLink, Rounds
from worker.stream import Turn as RedisTurn

Turns = Callable[[str, int], Turn]


def fakes() -> Turns:
    stream = FakeStream(FakeClock())
    return lambda consumer, lease_ms: FakeTurn(stream, "tidying", consumer, lease_ms=lease_ms)


@pytest.fixture(params=["fake", "redis"])
def turns(request: pytest.FixtureRequest) -> Iterator[Turns]:
    if request.param == "fake":
        yield fakes()
        return
    deployment: Deployment = request.getfixturevalue("deployment")
    link = RedisLink(deployment.redis_url(), block_ms=100, client_name="contract", a_key=deployment.orders)
    key = names_of(deployment, "one").tidying
    yield lambda consumer, lease_ms: RedisTurn(link, key, consumer, lease_ms=lease_ms)
    link.close()


def test_turn_is_one_replicas_at_a_time(turns: Turns) -> None:
    one, two = turns("one", 30_000), turns("two", 30_000)

    assert one.take()
    assert not two.take()
    assert one.take(), "whoever has it keeps it"


def test_turn_that_has_ended_is_anybodys(turns: Turns) -> None:
    one, two = turns("one", 30_000), turns("two", 30_000)
    one.take()

    one.end()

    assert two.take()
    assert not one.take()


def test_turn_of_whoever_has_died_runs_out(deployment: Deployment) -> None:
    link = RedisLink(deployment.redis_url(), block_ms=100, client_name="contract", a_key=deployment.orders)
    key = names_of(deployment, "one").tidying
    one, two = (RedisTurn(link, key, name, lease_ms=100) for name in ("one", "two"))
    one.take()

    eventually(two.take)

    assert not one.take()
    link.close()


def test_turn_of_whoever_has_died_runs_out_on_the_clock_of_the_fakes() -> None:
    stream = FakeStream(FakeClock())
    one, two = (FakeTurn(stream, "tidying", name, lease_ms=100) for name in ("one", "two"))
    one.take()
    stream.clock.advance(0.1)

    assert two.take()
    assert not one.take()


def test_turn_is_everyones_where_redis_takes_nothing_more() -> None:
    refusal = redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
    full = Mock(spec=RedisLink, call=Mock(side_effect=refusal))

    assert all(RedisTurn(full, "turn", name, lease_ms=100).take() for name in ("one", "two"))


def test_turn_that_would_outlast_its_time_by_a_clock_that_was_set_back_is_anybodys(
    deployment: Deployment,
) -> None:
    link = RedisLink(deployment.redis_url(), block_ms=100, client_name="contract", a_key=deployment.orders)
    key = names_of(deployment, "one").tidying
    # As the clock of the server leaves it that was set back by two minutes, or that of another one which is
    # behind.
    deployment.redis.set(key, "one", px=120_000 + 30_000)
    two = RedisTurn(link, key, "two", lease_ms=30_000)

    assert two.take()
    assert 0 < deployment.redis.pttl(key) <= 30_000
    link.close()


def test_turn_whose_end_was_forgotten_is_anybodys(deployment: Deployment) -> None:
    """Proves that whatever moved the keys without their ends keeps nobody from his turn for ever."""
    link = RedisLink(deployment.redis_url(), block_ms=100, client_name="contract", a_key=deployment.orders)
    key = names_of(deployment, "one").tidying
    deployment.redis.set(key, "one")

    assert RedisTurn(link, key, "two", lease_ms=30_000).take()
    link.close()


def test_round_that_redis_has_forgotten_does_not_count(deployment: Deployment) -> None:
    link = RedisLink(deployment.redis_url(), block_ms=100, client_name="contract", a_key=deployment.orders)
    key = names_of(deployment, "one").rounds

    def rounds(consumer: str) -> Rounds:
        return Rounds(
            link, RedisTurn(link, f"{key}:turn", consumer, lease_ms=100), key, consumer, says="said"
        )

    one, two, three = rounds("one"), rounds("two"), rounds("three")
    first, second = one.begin(), two.begin()
    later_one_first = two.end(second, 2), one.end(first, 1), three.ended()
    third = one.begin()
    # As a Redis that has lost what it had last, where another one begins after that.
    deployment.redis.hset(key, "begun", second)
    deployment.redis.delete(f"{key}:{third}")
    same_number = two.begin()
    forgotten = one.end(third, 3), three.ended()
    link.close()

    assert later_one_first == (True, True, (2, 2))
    assert same_number == third
    assert forgotten == (False, (2, 2))
