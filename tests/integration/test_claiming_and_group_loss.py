"""What dead replicas left, what is trimmed or destroyed under a replica: nothing lost, nothing doubled."""

from tests.harness import Deployment, assert_invariants, eventually, numbered_orders, take_and_vanish
from tests.inprocess import committing, running


def test_entries_of_a_dead_replica_are_claimed_and_executed(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(300))
    take_and_vanish(deployment, 120)

    with running(deployment, batch_size=100) as made:
        eventually(deployment.all_settled)

    assert made.worker.tally.filled + made.worker.tally.rejected == 300
    assert_invariants(deployment)


def test_entry_delivered_too_often_is_buried_as_poison_without_its_neighbours(deployment: Deployment) -> None:
    ids = deployment.submit(numbered_orders(40))
    take_and_vanish(deployment, 1, deliveries=5)
    take_and_vanish(deployment, 39, deliveries=4, consumer="gone too")

    with running(deployment, max_deliveries=5) as made:
        eventually(deployment.all_settled)

    assert [(letter["reason"], letter["entry_id"]) for letter in deployment.letters()] == [
        (b"poison", ids[0].encode())
    ]
    assert made.worker.tally.filled + made.worker.tally.rejected == 39
    assert_invariants(deployment)


def test_committed_order_is_answered_when_it_was_delivered_too_often(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(3))
    with running(deployment):
        eventually(deployment.all_settled)
    deployment.redis.xgroup_setid(deployment.orders, deployment.group, "0")
    deployment.redis.delete(*deployment.mark_keys, deployment.results)
    take_and_vanish(deployment, 3, deliveries=9)

    with running(deployment, max_deliveries=3) as made:
        eventually(deployment.all_settled)

    assert made.worker.tally.answered_again == 3
    assert deployment.letters() == []
    assert_invariants(deployment)


def test_settled_entries_have_no_second_result_when_the_group_is_destroyed(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(700))
    with running(deployment) as made:
        eventually(deployment.all_settled)
        deployment.redis.xgroup_destroy(deployment.orders, deployment.group)
        deployment.submit(numbered_orders(800)[700:])
        eventually(lambda: made.worker.tally.answered_again == 700)
        eventually(deployment.all_settled)

    assert len(deployment.published()) == 800
    assert_invariants(deployment, made.worker.tally)


def test_worker_recovers_when_the_stream_is_deleted_under_its_read(deployment: Deployment) -> None:
    with running(deployment, block_ms=5000, lease_ms=20_000) as made:
        eventually(lambda: deployment.redis.info("clients")["blocked_clients"] > 0)
        deployment.redis.delete(deployment.orders)
        deployment.submit(numbered_orders(5))
        eventually(lambda: made.worker.tally.filled + made.worker.tally.rejected == 5)

    assert_invariants(deployment)


def test_committed_order_gets_its_one_result_when_its_entry_was_trimmed_meanwhile(
    deployment: Deployment,
) -> None:
    deployment.submit(numbered_orders(10))

    with committing(deployment) as (made, pause):
        deployment.redis.xtrim(deployment.orders, maxlen=0)
        made.worker.lease.renew()
        pause.go_on.set()
        eventually(deployment.all_settled)

    assert len(deployment.published()) == 10
    assert deployment.letters() == []
    assert not deployment.redis.exists(f"{deployment.orders}:trimmed:{deployment.group}")
    assert_invariants(deployment)


def test_entry_trimmed_while_nobody_held_it_is_buried_as_trimmed(deployment: Deployment) -> None:
    ids = deployment.submit(numbered_orders(4))
    take_and_vanish(deployment, 4)
    deployment.redis.xdel(deployment.orders, ids[1])

    with running(deployment):
        eventually(lambda: len(deployment.letters()) == 1)
        eventually(deployment.all_settled)

    (letter,) = deployment.letters()
    assert (letter["reason"], letter["entry_id"]) == (b"trimmed", ids[1].encode())
    assert_invariants(deployment)
