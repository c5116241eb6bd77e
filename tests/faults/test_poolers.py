"""Orders flow through PgBouncer: PostgreSQL dies behind it, and it dies before PostgreSQL, under load."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median_low

import psycopg
import pytest

from local import LocalPostgres, LocalRedis
from tests import pooler
from tests.faults.load import Load
from tests.faults.moving import MovingPostgres, Place, is_ready, seconds_until_results_go_on
from tests.faults.reporting import record
from tests.faults.scale import CHAOS
from tests.harness import assert_invariants, eventually, numbered_orders
from tests.inprocess import running
from tests.pooler import Pooler
from tests.processes import WorkerProcess, workers

RESTARTS = 10 if CHAOS else 1
UNHURRIED = {"lease_ms": 60_000, "max_deliveries": 3, "batch_size": 100}
# What is shipped, and what PgBouncer does by itself: it tells everybody for that long that a try has failed.
AS_SHIPPED, BY_DEFAULT = 1, 15

pytestmark = pytest.mark.timeout(3600 if CHAOS else 900)


def is_missed(replica: WorkerProcess) -> bool:
    status, body = replica.get("/ready")
    return status == 503 and "database: " in body.decode()


def behind(_: Pooler, postgres: LocalPostgres, missed: Callable[[], None]) -> None:
    """Restart PostgreSQL once the pooler has found it away."""
    postgres.kill()
    missed()
    postgres.start()


def in_front(front: Pooler, _: LocalPostgres, missed: Callable[[], None]) -> None:
    """Restart the pooler."""
    front.kill()
    missed()
    front.start()


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize(
    ("restart", "retry_s"),
    [(behind, AS_SHIPPED), (in_front, AS_SHIPPED), *([(behind, BY_DEFAULT)] if CHAOS else [])],
    ids=["behind", "in-front", *(["behind-by-default"] if CHAOS else [])],
)
def test_orders_go_on_through_a_pooler_when_it_or_postgresql_is_back(
    own_redis: LocalRedis, own_postgres: LocalPostgres, place: Place, tmp_path: Path, mode: str,
    restart: Callable[[Pooler, LocalPostgres, Callable[[], None]], None], retry_s: int,
) -> None:  # fmt: skip
    taken: list[float] = []
    here = place(own_redis.url, own_postgres.url)
    load = Load(here)
    (tmp_path / "pooler").mkdir()
    settings = {"pool_mode": mode, "server_login_retry": retry_s}
    with (
        pooler.started(own_postgres.url, tmp_path / "pooler", **settings) as front,
        workers(place(own_redis.url, front.url), tmp_path, 2, **UNHURRIED) as replicas,
    ):
        with load.running():
            for _ in range(RESTARTS):
                load.await_more()
                restart(front, own_postgres, lambda: eventually(lambda: all(map(is_missed, replicas))))
                began = time.monotonic()
                seconds_until_results_go_on(here)
                taken.append(time.monotonic() - began)
                with load.resting():
                    eventually(lambda: all(map(is_ready, replicas)), within=40)
                    eventually(here.all_settled, within=120)
        eventually(here.all_settled, within=120)
        assert [replica.drain() for replica in replicas] == [0, 0]

    assert len(here.rows()) == len(here.published()) == load.submitted
    assert here.letters() == []
    assert_invariants(here, *(replica.tally for replica in replicas))
    figures = {"p50_s": round(median_low(taken), 3), "worst_s": round(max(taken), 3)}
    row = f"{mode} {restart.__name__} {retry_s}"
    record(
        "poolers",
        row,
        recoveries=len(taken),
        lost=0,
        doubled=0,
        of_the_load=round(load.reached, 2),
        **figures,
    )


def test_orders_go_on_once_a_pooler_leaves_a_demoted_primary_that_lives_on(
    own_redis: LocalRedis, own_postgres: LocalPostgres, place: Place, tmp_path: Path, for_everybody: Path
) -> None:
    """Proves what the recipe says: the pooler keeps sessions that take no writes until it is told."""
    orders = numbered_orders(100)
    console_for = {**pooler.letting_in("any", for_everybody), "admin_users": "any"}
    with (
        MovingPostgres.made(own_postgres, tmp_path) as moving,
        pooler.started(moving.url, for_everybody, **console_for) as front,
        running(place(own_redis.url, front.url), lease_ms=60_000) as made,
    ):
        here = place(own_redis.url, own_postgres.url)
        here.submit(orders[:50])
        eventually(here.all_settled)
        promoted = moving.demote()
        left = moving.lead_to(promoted)
        here.submit(orders[50:])
        eventually(lambda: made.worker.tally.outages > 0)
        assert not here.all_settled()

        with psycopg.connect(front.url_of("pgbouncer"), autocommit=True) as console:
            console.execute("RECONNECT")
        eventually(here.all_settled)
        left.stop()
        here = place(own_redis.url, promoted.url)
        assert len(here.rows()) == len(here.published()) == len(orders)
        assert_invariants(here)
