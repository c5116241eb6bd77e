"""Replicas die under load; those that are left, or come later, finish."""

import signal
from pathlib import Path

import pytest

from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.processes import workers

ORDERS = 20_000


@pytest.mark.timeout(300)
def test_third_replica_finishes_when_one_of_two_is_killed_under_load(
    deployment: Deployment, tmp_path: Path
) -> None:
    orders = numbered_orders(ORDERS)
    deployment.submit(orders[: ORDERS // 2])

    with workers(deployment, tmp_path, 2, batch_size=100) as (dying, staying):
        eventually(lambda: deployment.redis.xlen(deployment.results) > ORDERS // 10)
        deployment.submit(orders[ORDERS // 2 :])
        dying.signal(signal.SIGKILL)
        dying.wait()
        assert not deployment.all_settled()
        with workers(deployment, tmp_path, 1, batch_size=100) as (third,):
            eventually(deployment.all_settled, within=120)
            assert (staying.drain(), third.drain()) == (0, 0)

    assert len(deployment.rows()) == len(deployment.published()) == ORDERS
    assert deployment.letters() == []
    assert_invariants(deployment, staying.tally, third.tally)
