"""What one replica counts for all: who counts, when, and what becomes of it."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec import Struct
from redis.exceptions import OutOfMemoryError

from tests.fakes import FakeClock
from tests.harness import Deployment, names_of
from worker.domain.errors import Outage
from worker.stream import Figures, RedisLink

EVERY_S = 2.0


class Counts(Struct, frozen=True):
    """What is counted."""

    orders: int
    version: str | None


class Fleet:
    """Replicas that count for each other. `count` is what there is; `counted` who has counted."""

    def __init__(self, deployment: Deployment, link: RedisLink) -> None:
        self.deployment, self.link, self.clock = deployment, link, FakeClock()
        self.count = 0
        self.counted: list[str] = []

    def replica(self, name: str, *, every_s: Callable[[], float] = lambda: EVERY_S) -> Figures[Counts]:
        def count() -> Counts:
            self.counted.append(name)
            return Counts(self.count, None)

        names = names_of(self.deployment, name)
        return Figures(self.link, names, "redis", Counts, count, every_s=every_s, clock=self.clock.monotonic)

    def pass_time(self, seconds: float) -> None:
        """Let time pass for the replicas, and for what stands in Redis."""
        self.clock.advance(seconds)
        names, client = names_of(self.deployment, "one"), self.deployment.redis
        for key in (names.figures("redis"), names.counting("redis")):
            # Redis deletes at once what is to go before now.
            client.pexpire(key, client.pttl(key) - round(seconds * 1000))


@pytest.fixture
def fleet(deployment: Deployment) -> Iterator[Fleet]:
    link = RedisLink(deployment.redis_url(), block_ms=100, client_name="contract", a_key=deployment.orders)
    yield Fleet(deployment, link)
    link.close()


def test_one_replica_counts_for_all(fleet: Fleet) -> None:
    replicas = [fleet.replica(name) for name in ("one", "two", "three")]

    found = []
    for fleet.count in range(10):
        found.append([each.read().orders for each in replicas])
        fleet.pass_time(1)

    # Each second somebody asks, and every other one somebody counts.
    assert fleet.counted == ["one"] * 5
    assert found[-1] == [8, 8, 8]


def test_figures_come_as_they_were_counted(fleet: Fleet) -> None:
    counted = fleet.replica("one").read()

    assert fleet.replica("two").read() == counted == Counts(0, None)


def test_another_replica_counts_once_the_one_that_did_has_died(fleet: Fleet) -> None:
    one, two = fleet.replica("one"), fleet.replica("two")
    one.read()
    two.read()

    for fleet.count in range(1, 5):
        fleet.pass_time(1)
        two.read()

    assert fleet.counted == ["one", "two", "two"]
    assert two.known == Counts(4, None)


def test_replica_that_has_work_does_not_wait_for_the_figures_of_idle_ones(fleet: Fleet) -> None:
    idle, busy = fleet.replica("idle", every_s=lambda: 3600.0), fleet.replica("busy")
    idle.read()
    busy.read()
    fleet.pass_time(EVERY_S)

    fleet.count = 7

    assert busy.read().orders == 7
    assert idle.read().orders == 7
    assert fleet.counted == ["idle", "busy"]


def test_replica_that_is_not_to_count_does_so_where_nobody_has(fleet: Fleet) -> None:
    idle = fleet.replica("idle", every_s=lambda: math.inf)

    found = [idle.read(), idle.read()]

    assert found == [Counts(0, None)] * 2
    assert fleet.counted == ["idle"]


def test_figures_are_counted_anew_where_redis_has_lost_them(fleet: Fleet) -> None:
    one = fleet.replica("one")
    one.read()
    fleet.deployment.redis.delete(names_of(fleet.deployment, "one").figures("redis"))
    fleet.pass_time(EVERY_S)

    one.read()
    fleet.replica("two").read()

    assert fleet.counted == ["one", "one"]


def test_replica_that_finds_work_does_not_wait_for_what_it_would_have_waited_for_without(
    fleet: Fleet,
) -> None:
    pace_s = math.inf
    replica = fleet.replica("one", every_s=lambda: pace_s)
    replica.read()

    pace_s, fleet.count = EVERY_S, 7
    fleet.pass_time(EVERY_S)

    assert replica.read().orders == 7


def test_figures_that_can_not_be_noted_are_those_that_were_counted_last(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = fleet.replica("one")
    one.read()
    call = fleet.link.call

    def full(command: str, *parts: Any) -> Any:
        if command == "SET":
            raise OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
        return call(command, *parts)

    monkeypatch.setattr(fleet.link, "call", full)

    found = []
    for fleet.count in range(1, 4):
        fleet.pass_time(EVERY_S)
        found.append(one.read().orders)

    assert found == [1, 2, 3]


@pytest.mark.parametrize("note", ['[1,{"orders":99}]', '[1,{"orders":"many","version":null}]', "[1", "\xff"])
def test_replica_counts_for_itself_where_the_note_is_none_that_it_can_read(fleet: Fleet, note: str) -> None:
    one, key = fleet.replica("one"), names_of(fleet.deployment, "one").figures("redis")
    first = one.read()
    fleet.deployment.redis.set(key, note)

    kept = one.read()
    fleet.pass_time(EVERY_S)
    fleet.count = 7
    new = one.read()

    assert first == kept == Counts(0, None)
    assert new == Counts(7, None)


def test_note_that_says_more_is_read(fleet: Fleet) -> None:
    key = names_of(fleet.deployment, "one").figures("redis")
    fleet.deployment.redis.set(key, '[1,{"orders":7,"version":"8","more":true}]')

    assert fleet.replica("one").read() == Counts(7, "8")
    assert fleet.counted == []


def test_what_counting_raises_is_raised_and_counted_again_when_it_is_asked_next(fleet: Fleet) -> None:
    def away() -> Counts:
        fleet.counted.append("away")
        raise Outage("postgresql", "it is away")

    names = names_of(fleet.deployment, "one")
    figures = Figures(
        fleet.link, names, "redis", Counts, away, every_s=lambda: EVERY_S, clock=fleet.clock.monotonic
    )

    for _ in range(2):
        with pytest.raises(Outage, match="it is away"):
            figures.read()

    assert fleet.counted == ["away", "away"]
