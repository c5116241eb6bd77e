"""Marks of the version before, by group: they count one by one, and prove nothing of what they don't hold."""

from typing import Any

import pytest

from tests.fleets import (
    as_the_version_before_left_it,
    assert_audits_are_clean,
    group_is_through,
    has_repaired,
    not_to_be_known,
    orders_not_to_be_known,
    result_ids,
    small_order,
)
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.inprocess import running

FEW = [f"order-{i}" for i in range(5)]


@pytest.fixture
def left(deployment: Deployment) -> Deployment:
    """A deployment whose few orders the version before has settled."""
    deployment.submit(numbered_orders(len(FEW)))
    with running(deployment):
        eventually(deployment.all_settled)
    as_the_version_before_left_it(deployment)
    return deployment


def look_around(deployment: Deployment) -> None:
    """Have a replica go through all there is, once."""
    with running(deployment) as made:
        eventually(lambda: group_is_through(deployment) and has_repaired(deployment, made.names.consumer))


def test_nothing_is_published_again_when_the_marks_of_before_are_deleted_after_the_new_version_began(
    left: Deployment,
) -> None:
    """Proves that what only the old key held is lost with it, and asked of the results: it proves nothing."""
    left.submit([small_order("new")])
    look_around(left)
    know_marks_for_longer(left)
    left.redis.delete(left.marks_of_before)

    look_around(left)

    assert result_ids(left) == [*FEW, "new"]
    assert_audits_are_clean([left])
    assert_invariants(left)


def know_marks_for_longer(deployment: Deployment) -> None:
    """Have marks begun to be complete an hour ago, with replicas of the last version at work ever since."""
    facts: Any = deployment.redis.zrangebyscore(deployment.marks, "inf", "inf")
    for fact in facts:
        name, _, since = fact.decode().partition("=")
        if name in {"results", "letters"}:
            deployment.redis.zrem(deployment.marks, fact)
            deployment.redis.zadd(deployment.marks, {f"{name}={int(since) - 3_600_000}": "inf"})


@pytest.mark.parametrize("made", ["before the new version began", "beside it"])
def test_nothing_is_published_again_when_the_version_before_has_made_its_marks_anew(
    left: Deployment, made: str
) -> None:
    """Proves that a key of before is not taken for whole because it is there."""
    if made == "beside it":
        look_around(left)
    first, *_ = (entry_id for entry_id, _ in left.entries(left.orders))
    with left.redis.pipeline(transaction=True) as pipeline:
        pipeline.delete(left.marks_of_before, left.marks)
        pipeline.zadd(left.marks_of_before, {first: int(first.partition("-")[0])})
        pipeline.execute()

    look_around(left)

    assert result_ids(left) == FEW
    assert_audits_are_clean([left])
    assert_invariants(left)


@pytest.mark.parametrize("member", ["paper", "1-1", "x:1"])
def test_each_group_publishes_its_own_results_when_the_marks_of_another_group_are_there(
    deployment: Deployment, member: str
) -> None:
    """Proves that a group of the same orders, with results and database elsewhere, settles nothing for ours.

    Nor does it keep a replica from starting that its key holds anything at all.
    """
    ids = deployment.submit(numbered_orders(len(FEW)))
    deployment.redis.xgroup_create(deployment.orders, "paper", "0")
    settled = {entry_id: int(entry_id.partition("-")[0]) for entry_id in ids}
    deployment.redis.zadd(f"{deployment.orders}:settled:paper", {**settled, member: 7})

    look_around(deployment)

    assert sorted(result_ids(deployment)) == FEW
    assert len(deployment.rows()) == len(FEW)


@pytest.mark.parametrize("kept", [5, 2, 1], ids=["all of them", "two of them", "one of them"])
def test_nothing_is_published_again_when_the_group_is_renamed_in_the_step_of_the_upgrade(
    left: Deployment, kept: int
) -> None:
    """Proves that existing results answer for marks that no replica looks at, and a person for the others."""
    executed = {order_id: row.executed_at for order_id, row in left.rows().items()}
    left.redis.xtrim(left.results, maxlen=kept, approximate=False)
    old_group, left.group = left.group, "execution-v2"
    assert left.redis.exists(f"{left.orders}:settled:{old_group}")
    left.submit([small_order("new")])

    with running(left) as made:
        eventually(lambda: group_is_through(left) and has_repaired(left, made.names.consumer))
        eventually(lambda: not_to_be_known(left) == len(FEW) - kept)

    assert result_ids(left) == [*FEW[-kept:], "new"]
    assert {order_id: row.executed_at for order_id, row in left.rows().items() if order_id in FEW} == executed
    assert orders_not_to_be_known(left) == FEW[:-kept]
    if kept == len(FEW):
        left.redis.xgroup_destroy(left.orders, old_group)
        assert_audits_are_clean([left])
        assert_invariants(left)
