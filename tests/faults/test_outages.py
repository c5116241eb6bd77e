"""PostgreSQL and Redis go away under load and come back: nothing lost, buried or doubled."""

import json
from pathlib import Path

import pytest

from local import LocalPostgres, LocalRedis
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.processes import WorkerProcess, workers

ORDERS = 6_000


def is_ready(replica: WorkerProcess) -> bool:
    return replica.get("/ready")[0] == 200


def total(replicas: list[WorkerProcess], name: str) -> int:
    return sum(json.loads(replica.get("/status")[1])["stats"][name] for replica in replicas)


def results(deployment: Deployment) -> int:
    return int(deployment.redis.xlen(deployment.results))


@pytest.mark.timeout(300)
def test_orders_survive_when_postgresql_then_redis_go_away_under_load(
    own_deployment: Deployment, own_redis: LocalRedis, own_postgres: LocalPostgres, tmp_path: Path
) -> None:
    deployment = own_deployment
    deployment.submit(numbered_orders(ORDERS))

    with workers(deployment, tmp_path, 2, batch_size=10, max_deliveries=3) as replicas:
        eventually(lambda: results(deployment) > ORDERS // 10)
        own_postgres.kill()
        eventually(lambda: not any(is_ready(replica) for replica in replicas))
        assert all(replica.get("/health")[0] == 200 for replica in replicas)
        # Long enough for every lease to run out twice, were it not renewed.
        before = max(total([replica], "outages") for replica in replicas)
        eventually(lambda: all('attempt": 5' in replica.said for replica in replicas))
        own_postgres.start()
        eventually(lambda: all(is_ready(replica) for replica in replicas))
        already = results(deployment)
        eventually(lambda: results(deployment) > already)

        own_redis.kill()
        eventually(lambda: not any(is_ready(replica) for replica in replicas))
        own_redis.start()
        eventually(deployment.all_settled, within=120)
        assert [replica.drain() for replica in replicas] == [0, 0]

    assert before >= 1
    assert len(deployment.rows()) == len(deployment.published()) == ORDERS
    assert deployment.letters() == []
    assert_invariants(deployment, *(replica.tally for replica in replicas))


@pytest.mark.timeout(300)
def test_signal_ends_a_replica_that_waits_out_an_outage(
    own_deployment: Deployment, own_postgres: LocalPostgres, tmp_path: Path
) -> None:
    own_deployment.submit(numbered_orders(100))

    with workers(own_deployment, tmp_path, 1, batch_size=10) as (replica,):
        own_postgres.stop()
        own_deployment.submit(
            [{**order, "order_id": f"late-{n}"} for n, order in enumerate(numbered_orders(30))]
        )
        eventually(lambda: '"event": "outage"' in replica.said)
        assert replica.drain() == 0

    own_postgres.start()
    with workers(own_deployment, tmp_path, 1) as (replica,):
        eventually(own_deployment.all_settled)
        assert replica.drain() == 0
    assert own_deployment.letters() == []
    assert_invariants(own_deployment)
