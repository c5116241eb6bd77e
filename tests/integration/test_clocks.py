"""Clocks that disagree: told at the start, and only one of them counts."""

import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from tests.harness import Deployment, names_of, numbered_orders
from tests.inprocess import running
from tests.skips import Reason, skip
from worker.bootstrap.parts.clocks import warn_where_apart
from worker.domain.deliveries import Settlement
from worker.stream import OrderStream, RedisLink

LEASE_MS = 30_000
HOUR_S = 3600


@pytest.fixture
def link(deployment: Deployment) -> Iterator[RedisLink]:
    made = RedisLink(deployment.redis_url(), block_ms=50, client_name="test", a_key=deployment.orders)
    yield made
    made.close()


@pytest.mark.parametrize(("ahead_s", "told"), [(0, []), (180, [180]), (-180, [-180])])
def test_replica_warns_when_its_clock_and_that_of_redis_are_minutes_apart(
    link: RedisLink, ahead_s: int, told: list[int]
) -> None:
    """Proves that a host that dates rows ahead is noticed before its results might go out twice."""
    with capture_logs() as logged:
        warn_where_apart(link, now=lambda: time.time() + ahead_s)

    assert [round(each["ahead_s"], -1) for each in logged] == told


@pytest.mark.parametrize("off_s", [-HOUR_S, HOUR_S], ids=["behind", "ahead"])
def test_what_stands_in_redis_is_dated_by_its_clock_whatever_that_of_the_replica_says(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, off_s: int
) -> None:
    """Proves that notes of trimmed entries fall due and orders are kept by one clock for all replicas."""
    trimmed, kept = deployment.submit(numbered_orders(2))
    seconds, _ = deployment.redis.time()
    really, really_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: really() + off_s)
    monkeypatch.setattr(time, "time_ns", lambda: really_ns() + off_s * 1_000_000_000)
    names = names_of(deployment, "one")
    with closing(
        RedisLink(deployment.redis_url(), block_ms=100, client_name="clocks", a_key=deployment.orders)
    ) as link:
        stream = OrderStream(link, names, lease_ms=LEASE_MS, results_channel=None)
        stream.ensure_group()
        stream.read(2, 1)
        deployment.redis.xdel(deployment.orders, trimmed)

        fetched = stream.fetch({trimmed: 1})
        noted_at = deployment.redis.zscore(names.trimmed, trimmed)
        at_once = stream.trimmed(10)
        deployment.redis.zincrby(names.trimmed, -LEASE_MS, trimmed)
        after_a_lease = stream.trimmed(10)
        stream.settle([Settlement(trimmed, "ack"), Settlement(kept, "ack")])
        retained = stream.retain(keep_ms=60_000, most_results=0)

    assert fetched.bodies == {}
    assert noted_at is not None
    assert abs(noted_at / 1000 - seconds) < HOUR_S / 2
    assert (at_once, after_a_lease) == ([], [trimmed])
    assert retained.orders == 0


def test_lease_is_judged_by_a_clock_that_goes_on_while_the_machine_is_suspended(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(time, "CLOCK_BOOTTIME"):
        skip(Reason.NO_CLOCK_OF_SUSPENSION)
    asked: list[int] = []

    def asking(clock: int) -> float:
        asked.append(clock)
        return 0.0

    with running(deployment) as made:
        judged_by = made.worker.lease.clock
    monkeypatch.setattr(time, "clock_gettime", asking)

    judged_by()

    assert asked == [time.CLOCK_BOOTTIME]
