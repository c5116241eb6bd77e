"""Rows that the version before left have no source: they answer for their entries, and for nobody else's."""

import pytest
from sqlalchemy import text

from tests.fleets import (
    as_the_version_before_left_it,
    assert_audits_are_clean,
    delete_marks,
    has_repaired,
    result_ids,
    rows,
    small_order,
)
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders, take_and_vanish
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


@pytest.mark.parametrize("marks", ["with its marks", "without marks"])
def test_row_without_a_source_answers_for_its_entry_when_that_is_delivered_again(
    left: Deployment, marks: str
) -> None:
    """Proves that nothing is executed or published again because a fleet has a new version."""
    before = {order_id: row.executed_at for order_id, row in left.rows().items()}
    left.redis.xgroup_destroy(left.orders, left.group)
    if marks == "without marks":
        delete_marks(left)

    with running(left) as made:
        eventually(lambda: made.worker.tally.answered_again == len(FEW))
        eventually(left.all_settled)
        eventually(lambda: has_repaired(left, made.names.consumer))

    assert {order_id: row.executed_at for order_id, row in left.rows().items()} == before
    assert result_ids(left) == FEW
    assert_audits_are_clean([left])
    assert_invariants(left, made.worker.tally)


def test_nothing_is_published_again_when_a_new_version_starts(left: Deployment) -> None:
    """Proves that the marks of before count: they have another key and belong to the group."""
    with running(left) as made:
        left.submit([small_order("new")])
        eventually(left.all_settled)
        eventually(lambda: has_repaired(left, made.names.consumer))

    assert result_ids(left) == [*FEW, "new"]
    assert_audits_are_clean([left])
    assert_invariants(left, made.worker.tally)


def test_marks_of_before_are_set_as_well(left: Deployment) -> None:
    """Proves that replicas of the version before, which know these alone, publish nothing again."""
    (entry_id,) = left.submit([small_order("new")])

    with running(left):
        eventually(left.all_settled)

    assert left.redis.zscore(left.marks_of_before, entry_id) is not None


def test_order_is_executed_on_its_own_when_a_row_without_a_source_has_its_entry_id(
    fleets: tuple[Deployment, Deployment],
) -> None:
    """Proves that another fleet's row, from before there were sources, is not taken for the entry's own."""
    first, second = fleets
    ids = first.submit([small_order("a1")])
    with running(first):
        eventually(first.all_settled)
    as_the_version_before_left_it(first)
    second.submit([small_order("b1")], under=ids)

    with running(second) as made:
        eventually(second.all_settled)
        eventually(lambda: has_repaired(second, made.names.consumer))
    with running(first) as made:
        eventually(lambda: has_repaired(first, made.names.consumer))

    assert [(row.order_id, row.source) for row in rows(first)] == [("a1", ""), ("b1", second.fleet.source)]
    assert (result_ids(first), result_ids(second)) == (["a1"], ["b1"])
    assert second.letters() == []
    assert_audits_are_clean(fleets)


@pytest.mark.parametrize(
    ("column", "message", "reason", "error"),
    [(None, "poison: x", b"poison", b"x"), ("failed", "poison: x", b"failed", b"poison: x")],
    ids=["by its message", "by its column"],
)
def test_row_that_was_given_up_says_why_when_its_letter_has_to_be_buried_again(
    deployment: Deployment, column: str | None, message: str, reason: bytes, error: bytes
) -> None:
    """Proves that a reason is read from the version before's rows alone, which have no column for it."""
    deployment.submit([small_order("o1")])
    take_and_vanish(deployment, 1, deliveries=5)
    with running(deployment):
        eventually(deployment.all_settled)
    assert [letter["reason"] for letter in deployment.letters()] == [b"poison"]
    as_the_version_before_left_it(deployment)
    with deployment.database.transaction() as connection:
        change = text("UPDATE orders SET dead_reason = :reason, error_message = :message")
        connection.execute(change, {"reason": column, "message": message})
    deployment.redis.xgroup_destroy(deployment.orders, deployment.group)
    deployment.redis.delete(deployment.dead_letters, deployment.marks_of_before)

    with running(deployment):
        eventually(lambda: deployment.redis.xlen(deployment.dead_letters) > 0 and deployment.all_settled())

    (letter,) = deployment.letters()
    assert (letter["order_id"], letter["reason"], letter["error"]) == (b"o1", reason, error)
    assert result_ids(deployment) == []
