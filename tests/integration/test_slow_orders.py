"""An executor that takes its time: the replica shows that it lives, and leaves when it is asked to."""

import time
from pathlib import Path

from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.processes import workers

# Far longer than any of this takes: nobody gets anything because a lease has run out.
LONG_LEASE = {"lease_ms": 60_000, "transaction_timeout_s": 5}


def test_drain_ends_between_two_orders_and_others_take_the_rest_at_once_uncharged(
    deployment: Deployment, tmp_path: Path
) -> None:
    ids = deployment.submit(numbered_orders(100))
    with workers(deployment, tmp_path, 1, paper_latency_ms=200, batch_size=500, **LONG_LEASE) as (leaving,):
        eventually(lambda: len(deployment.rows()) >= 3)
        code = leaving.drain()

    assert code == 0, leaving.said
    done = len(deployment.rows())
    # A group takes about a second.
    assert done <= 20
    pending = deployment.redis.xpending_range(deployment.orders, deployment.group, "-", "+", 200)
    assert {entry["times_delivered"] for entry in pending} <= {0}
    with workers(deployment, tmp_path, 1, **LONG_LEASE):
        eventually(deployment.all_settled)
    assert len(deployment.published()) == len(ids)
    assert_invariants(deployment, leaving.tally)


def test_replica_is_healthy_while_slow_orders_fill_a_batch_that_outlasts_its_lease(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.submit(numbered_orders(500))
    said = set[int]()

    with workers(deployment, tmp_path, 1, paper_latency_ms=150, batch_size=500, block_ms=100) as (replica,):
        eventually(lambda: replica.has_started)

        def worked_for_longer_than_is_stale() -> bool:
            said.add(replica.get("/health")[0])
            return len(deployment.rows()) >= 30

        eventually(worked_for_longer_than_is_stale, within=30, every_s=0.1)
        assert replica.drain() == 0

    assert said == {200}


def test_other_replica_takes_what_a_slow_one_hands_back_long_before_its_lease_has_run_out(
    deployment: Deployment, tmp_path: Path
) -> None:
    ids = deployment.submit(numbered_orders(60))
    said = set[int]()

    with workers(
        deployment, tmp_path, 2, paper_latency_ms=200, batch_size=500, block_ms=100, **LONG_LEASE
    ) as both:
        leaving, staying = both

        def half_a_dozen_are_done() -> bool:
            said.update(each.get("/health")[0] for each in both)
            return len(deployment.rows()) >= 6

        eventually(lambda: all(each.has_started for each in both))
        eventually(half_a_dozen_are_done, every_s=0.1)
        code = leaving.drain()
        began = time.monotonic()
        eventually(deployment.all_settled, within=40)
        took_s = time.monotonic() - began
        said.add(staying.get("/health")[0])
        assert staying.drain() == 0

    assert code == 0, leaving.said
    assert leaving.tally.handed_back > 0
    assert took_s < LONG_LEASE["lease_ms"] / 1000
    assert said == {200}
    assert len(deployment.published()) == len(ids)
    assert_invariants(deployment, leaving.tally, staying.tally)
