"""A demoted primary lives on with its connections open, and its name leads to the one that was promoted."""

from pathlib import Path
from statistics import median_low

import pytest

from local import LocalPostgres, LocalRedis
from tests.faults.load import Load
from tests.faults.moving import MovingPostgres, MovingRedis, Place, is_ready, seconds_until_results_go_on
from tests.faults.reporting import record
from tests.faults.scale import CHAOS
from tests.harness import Deployment, assert_invariants, eventually
from tests.processes import WorkerProcess, workers
from worker.consumer import loop
from worker.store import engine
from worker.stream.link import clients

MOVES = 10 if CHAOS else 2
# What one recovery may have to wait for and another not: a back-off that has just begun, and a connection
# that nobody takes.
APART_S = {
    "redis": loop.LONGEST_WAIT_S + loop.FIRST_WAIT_S + clients.CONNECT_TIMEOUT_S,
    "database": loop.LONGEST_WAIT_S + loop.FIRST_WAIT_S + engine.CONNECT_TIMEOUT_S,
}
# Of a thousand a second. Less would say little of what comes of a move under load.
LEAST_OF_THE_LOAD = 0.5
UNHURRIED = {"lease_ms": 60_000, "max_deliveries": 3, "batch_size": 100}

pytestmark = pytest.mark.timeout(900)


def is_told(replica: WorkerProcess, sign: str) -> bool:
    status, body = replica.get("/ready")
    return status == 503 and sign in body.decode()


def assert_all_wait(replicas: list[WorkerProcess], sign: str) -> None:
    """Assert that nobody says that orders are worked on, and nobody asks to be restarted."""
    eventually(lambda: all(is_told(each, sign) for each in replicas))
    assert all(each.get("/health")[0] == 200 for each in replicas)


def assert_all_went_on(
    here: Deployment, load: Load, replicas: list[WorkerProcess], server: str, taken: list[float]
) -> None:
    """Assert that each order has one effect, and note how long it took to go on."""
    eventually(here.all_settled, within=120)
    assert [replica.drain() for replica in replicas] == [0, 0]
    assert len(here.rows()) == len(here.published()) == load.submitted
    assert here.letters() == []
    assert_invariants(here, *(replica.tally for replica in replicas))
    # Of two the lower, so that they are compared.
    p50, worst = median_low(taken), max(taken)
    figures = {"p50_s": round(p50, 3), "worst_s": round(worst, 3), "of_the_load": round(load.reached, 2)}
    record("moved", server, recoveries=len(taken), **figures)
    assert len(taken) == MOVES
    assert worst - p50 <= APART_S[server]
    assert load.reached > LEAST_OF_THE_LOAD


def test_orders_go_on_at_the_promoted_redis_when_the_primary_of_before_lives_on(
    own_redis: LocalRedis, own_postgres: LocalPostgres, place: Place, tmp_path: Path
) -> None:
    taken: list[float] = []
    with MovingRedis.made(own_redis, tmp_path) as moving:
        here = place(own_redis.url, own_postgres.url)
        load = Load(here)
        with workers(place(moving.url, own_postgres.url), tmp_path, 2, **UNHURRIED) as replicas:
            with load.running():
                for _ in range(MOVES):
                    load.await_more()
                    promoted = moving.demote()
                    assert_all_wait(replicas, "redis: ")

                    left = moving.lead_to(promoted)
                    here = load.deployment = place(promoted.url, own_postgres.url)
                    taken.append(seconds_until_results_go_on(here))
                    eventually(lambda: all(map(is_ready, replicas)))
                    # Not even of the pages, which would go on to show what was there.
                    moving.await_no_connection(left)
                    left.stop()
            assert_all_went_on(here, load, replicas, "redis", taken)


def test_orders_go_on_at_the_promoted_postgresql_when_the_primary_of_before_lives_on(
    own_redis: LocalRedis, own_postgres: LocalPostgres, place: Place, tmp_path: Path
) -> None:
    taken: list[float] = []
    with MovingPostgres.made(own_postgres, tmp_path) as moving:
        here = place(own_redis.url, own_postgres.url)
        load = Load(here)
        with workers(place(own_redis.url, moving.url), tmp_path, 2, **UNHURRIED) as replicas:
            with load.running():
                for _ in range(MOVES):
                    load.await_more()
                    promoted = moving.demote()
                    assert_all_wait(replicas, "25006")

                    left = moving.lead_to(promoted)
                    here = place(own_redis.url, promoted.url)
                    taken.append(seconds_until_results_go_on(here))
                    eventually(lambda: all(map(is_ready, replicas)))
                    # Not even of the pages, which would go on to show what was there.
                    moving.await_no_connection(left)
                    left.stop()
            assert_all_went_on(here, load, replicas, "database", taken)
