"""The clock of Redis is set forth and back under load, and that of a promoted Redis is another.

Nobody leaves, and nothing is lost.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from local import LocalPostgres
from tests.faults.load import Load
from tests.faults.moving import MovingRedis, Place, is_ready, seconds_until_results_go_on
from tests.faults.other_clock import RedisOfAnotherTime
from tests.faults.victim import REACHED
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.processes import WorkerProcess, victim, workers
from worker.consumer import retention
from worker.stream.orders import MARKS_STAY_MS

TWO_MINUTES_S = 120
# Shorter than what clocks are set by, so that all leases run out at once, or last for minutes.
LIMITS = {"lease_ms": 10_000, "transaction_timeout_s": 4, "execute_timeout_s": 2, "batch_size": 100}

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisOfAnotherTime]:
    server = RedisOfAnotherTime(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


def assert_each_has_one_effect(here: Deployment, load: Load, replicas: list[WorkerProcess]) -> None:
    eventually(here.all_settled, within=120)
    assert [each.drain() for each in replicas] == [0] * len(replicas), "somebody left who need not"
    assert len(here.rows()) == len(here.published()) == load.submitted
    assert here.letters() == []
    assert_invariants(here, *(each.tally for each in replicas))


def test_nobody_leaves_and_nothing_is_lost_or_doubled_when_the_clock_of_redis_is_set_forth_and_back(
    own_redis: RedisOfAnotherTime, own_deployment: Deployment, tmp_path: Path
) -> None:
    here = own_deployment
    load = Load(here)

    with workers(here, tmp_path, 3, **LIMITS) as replicas:
        with load.running():
            for ahead_s in (TWO_MINUTES_S, 0, -TWO_MINUTES_S, 3600, 0):
                load.await_more()
                own_redis.set_ahead(ahead_s)
                seconds, _ = here.redis.time()
                assert abs(seconds - time.time() - ahead_s) < 30, "the clock was not set"
            load.await_more()
        assert_each_has_one_effect(here, load, replicas)


@pytest.mark.parametrize("ahead_s", [TWO_MINUTES_S, -TWO_MINUTES_S], ids=["ahead", "behind"])
def test_nobody_leaves_and_nothing_is_lost_or_doubled_when_a_redis_of_another_time_takes_over(
    own_redis: RedisOfAnotherTime,
    own_deployment: Deployment,
    own_postgres: LocalPostgres,
    place: Place,
    tmp_path: Path,
    ahead_s: int,
) -> None:
    here = own_deployment
    load = Load(here)

    with (
        MovingRedis.made(own_redis, tmp_path) as moving,
        workers(place(moving.url, own_postgres.url), tmp_path, 2, **LIMITS) as replicas,
    ):
        with load.running():
            load.await_more()
            promoted = moving.demote(partial(RedisOfAnotherTime, ahead_s=ahead_s))
            left = moving.lead_to(promoted)
            accepted, here = here.accepted, place(promoted.url, own_postgres.url)
            here.accepted = accepted
            load.deployment = here
            seconds_until_results_go_on(here)
            eventually(lambda: all(map(is_ready, replicas)))
            left.stop()
            load.await_more()
        assert_each_has_one_effect(here, load, replicas)


def test_replica_that_was_stopped_for_longer_than_marks_stay_gives_nothing_out_again(
    own_redis: RedisOfAnotherTime, own_deployment: Deployment, tmp_path: Path
) -> None:
    here = own_deployment
    load, hops = Load(here), count(1)

    def dropped_when_more_time_has_passed() -> bool:
        own_redis.set_ahead(next(hops) * (MARKS_STAY_MS // 1000 + 1))
        here.submit(numbered_orders(load.submitted + 1)[-1:])
        load.submitted += 1
        return int(here.redis.zcount(here.marks, "-inf", "(+inf")) < load.submitted // 10

    with ExitStack() as stack:
        sleeping = stack.enter_context(victim(here, tmp_path, "settle sent, never arrived", "stop", **LIMITS))
        with load.running():
            eventually(lambda: REACHED in sleeping.said)
            eventually(sleeping.is_stopped)
            (awake,) = stack.enter_context(workers(here, tmp_path, 1, **LIMITS, orders_keep_s=1))
            load.await_more()
        eventually(here.all_settled, within=120)
        # They go in two rounds of retention: one notes what can't come back, a later one drops it.
        eventually(dropped_when_more_time_has_passed, within=120, every_s=retention.EVERY_S / 2)
        sleeping.signal(signal.SIGCONT)
        assert_each_has_one_effect(here, load, [awake, sleeping])

    assert "this replica stood still for too long to tell" in sleeping.said
