"""Redis loses the group, everything, or its newest part. PostgreSQL's rows have no second effect."""

import shutil
from pathlib import Path

import redis

from local import LocalRedis
from tests.harness import Deployment, Servers, assert_invariants, eventually, numbered_orders
from tests.inprocess import running
from tests.processes import workers

SETTLED = 10_000
UNSETTLED = 500


def test_ten_thousand_settled_entries_have_no_second_result_when_the_group_is_destroyed(
    deployment: Deployment,
) -> None:
    deployment.submit(numbered_orders(SETTLED))
    with running(deployment, batch_size=500):
        eventually(deployment.all_settled, within=60)
    deployment.submit(numbered_orders(SETTLED + UNSETTLED)[SETTLED:])
    deployment.redis.xgroup_destroy(deployment.orders, deployment.group)

    with running(deployment, batch_size=500) as made:
        eventually(deployment.all_settled, within=60)

    assert made.worker.tally.answered_again == SETTLED
    assert len(deployment.published()) == SETTLED + UNSETTLED
    assert_invariants(deployment, made.worker.tally)


def test_rows_have_no_second_effect_when_everything_in_redis_was_flushed(
    own_deployment: Deployment, tmp_path: Path
) -> None:
    orders = numbered_orders(600)
    own_deployment.submit(orders[:300])
    with workers(own_deployment, tmp_path, 2) as replicas:
        eventually(own_deployment.all_settled)
        before = own_deployment.rows()
        own_deployment.redis.flushall()
        own_deployment.submit(orders)
        eventually(lambda: own_deployment.redis.xlen(own_deployment.results) == 600)
        eventually(own_deployment.all_settled)
        assert [replica.drain() for replica in replicas] == [0, 0]

    after = own_deployment.rows()
    assert {order_id: after[order_id] for order_id in before} == before
    assert_invariants(own_deployment)


def test_settled_entries_have_no_second_effect_when_an_old_snapshot_is_restored(
    own_deployment: Deployment, own_redis: LocalRedis, tmp_path: Path
) -> None:
    own_deployment.submit(numbered_orders(200))
    own_redis.stop()
    snapshot = tmp_path / "snapshot"
    shutil.copytree(own_redis.directory, snapshot)
    own_redis.start()
    with workers(own_deployment, tmp_path, 1) as (replica,):
        eventually(own_deployment.all_settled)
        assert replica.drain() == 0
    before = own_deployment.rows()
    own_redis.stop()
    shutil.copytree(snapshot, own_redis.directory, dirs_exist_ok=True)
    own_redis.start()
    assert own_deployment.redis.xlen(own_deployment.results) == 0

    with workers(own_deployment, tmp_path, 1) as (replica,):
        eventually(own_deployment.all_settled)
        assert replica.drain() == 0

    assert own_deployment.rows() == before
    assert_invariants(own_deployment)


def test_settled_entries_have_no_second_effect_when_a_lagging_replica_is_promoted(
    own_deployment: Deployment, own_redis: LocalRedis, tmp_path: Path
) -> None:
    lagging = LocalRedis(tmp_path / "lagging")
    lagging.start()
    copy = redis.Redis.from_url(lagging.url)
    copy.config_set("masterauth", own_redis.password)
    copy.replicaof("127.0.0.1", own_redis.port)
    own_deployment.submit(numbered_orders(2000))
    eventually(lambda: copy.exists(own_deployment.orders) and copy.xlen(own_deployment.orders) == 2000)
    with workers(own_deployment, tmp_path, 1, batch_size=10) as (replica,):
        eventually(lambda: copy.exists(own_deployment.results) and copy.xlen(own_deployment.results) > 50)
        copy.replicaof("NO", "ONE")
        eventually(own_deployment.all_settled)
        assert replica.drain() == 0
    before = own_deployment.rows()
    servers = Servers(lagging.url, own_deployment.servers.database_url)

    with Deployment(servers, "own", "postgres", own_deployment.accepted) as promoted:
        assert 50 < promoted.redis.xlen(promoted.results) < 2000
        with workers(promoted, tmp_path, 1) as (replica,):
            eventually(promoted.all_settled)
            assert replica.drain() == 0

        assert promoted.rows() == before
        assert len(promoted.published()) == 2000
        assert_invariants(promoted, replica.tally)
    copy.close()
    lagging.stop()
