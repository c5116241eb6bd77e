"""Marks and a part of the results are gone: whether the rest was ever published nobody can know, and a person is told."""

import pytest

from tests.acceptance.test_commands import worker
from tests.fleets import (
    audit,
    delete_marks,
    group_is_through,
    has_repaired,
    not_to_be_known,
    result_ids,
    small_order,
    status,
)
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.inprocess import running
from tests.skips import Reason, skip

SETTLED, KEPT = 20, 5
ALL = [f"order-{i}" for i in range(SETTLED)]


def look_around(deployment: Deployment) -> None:
    """Have a replica go through all there is, once."""
    with running(deployment) as made:
        eventually(lambda: group_is_through(deployment) and has_repaired(deployment, made.names.consumer))


@pytest.fixture
def settled(deployment: Deployment) -> Deployment:
    deployment.submit(numbered_orders(SETTLED))
    with running(deployment, batch_size=1):
        eventually(deployment.all_settled)
    assert result_ids(deployment) == ALL
    return deployment


@pytest.fixture
def doubtful(settled: Deployment) -> Deployment:
    """Twenty orders were settled; then the results of all but the last five were trimmed, and all marks deleted."""
    settled.redis.xtrim(settled.results, maxlen=KEPT, approximate=False)
    delete_marks(settled, and_the_group=True)
    return settled


def test_nothing_is_published_again_and_each_order_is_told_when_results_were_trimmed_and_marks_deleted(
    doubtful: Deployment,
) -> None:
    """Proves that a doubled result is never the price of a guess, and that the guess is left to a person."""
    look_around(doubtful)

    said = worker(doubtful, "status")
    assert result_ids(doubtful) == ALL[-KEPT:]
    assert not_to_be_known(doubtful) == SETTLED - KEPT
    assert said.returncode == 1
    assert said.stdout.startswith("Needs you: ")
    assert "worker audit --repair" in said.stdout


def test_order_whose_result_was_deleted_by_hand_is_told_when_the_marks_were_deleted(
    settled: Deployment,
) -> None:
    """Proves the same of a result that is missing between others, where the server says that any was deleted."""
    if "max-deleted-entry-id" not in settled.redis.xinfo_stream(settled.results):
        skip(Reason.COUNTS_NOTHING_ADDED)
    deleted, _ = settled.entries(settled.results)[7]
    settled.redis.xdel(settled.results, deleted)
    delete_marks(settled)

    look_around(settled)

    assert result_ids(settled) == [order_id for order_id in ALL if order_id != "order-7"]
    assert not_to_be_known(settled) == 1
    assert status(settled)[0] == 1


def test_new_orders_are_settled_while_a_person_is_asked_about_old_ones(doubtful: Deployment) -> None:
    """Proves that a question holds nothing up, and does not grow."""
    doubtful.submit([small_order(f"new-{i}") for i in range(10)])

    look_around(doubtful)

    assert result_ids(doubtful)[KEPT:] == [f"new-{i}" for i in range(10)]
    assert not_to_be_known(doubtful) == SETTLED - KEPT


def test_question_is_asked_once_when_several_replicas_and_starts_come_to_it(doubtful: Deployment) -> None:
    """Proves that the answer stands for the fleet: starting again neither publishes nor forgets what is open."""
    with running(doubtful), running(doubtful):
        eventually(lambda: not_to_be_known(doubtful) == SETTLED - KEPT)
    look_around(doubtful)

    assert result_ids(doubtful) == ALL[-KEPT:]
    assert not_to_be_known(doubtful) == SETTLED - KEPT


def test_nothing_is_published_and_nobody_is_asked_any_more_when_a_person_repairs(
    doubtful: Deployment,
) -> None:
    """Proves that `worker audit --repair` takes the results for published, for good."""
    look_around(doubtful)

    audit(doubtful, "--repair")

    assert not_to_be_known(doubtful) == 0
    doubtful.redis.xgroup_destroy(doubtful.orders, doubtful.group)
    look_around(doubtful)
    assert result_ids(doubtful) == ALL[-KEPT:]
    assert not_to_be_known(doubtful) == 0


def test_each_result_goes_out_again_once_when_a_person_publishes_again(doubtful: Deployment) -> None:
    """Proves that `worker audit --repair --republish` gives out what is missing, and that this is the end of it."""
    look_around(doubtful)

    for _ in range(2):
        audit(doubtful, "--repair", "--republish")
    look_around(doubtful)

    assert sorted(result_ids(doubtful)) == sorted(ALL)
    assert not_to_be_known(doubtful) == 0
    assert audit(doubtful) == (0, [])
    assert_invariants(doubtful)
