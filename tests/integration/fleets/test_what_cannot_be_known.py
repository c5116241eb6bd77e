"""Marks and some results are gone: nobody can know whether the rest was published, and a person is told."""

import signal
from pathlib import Path

import pytest

from tests.acceptance.test_commands import worker
from tests.fleets import (
    assert_audits_are_clean,
    audit,
    delete_marks,
    deletions_are_told,
    group_is_through,
    has_repaired,
    not_to_be_known,
    orders_not_to_be_known,
    result_ids,
    small_order,
    status,
)
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.inprocess import running
from tests.processes import victim
from tests.skips import Reason, skip

SETTLED, KEPT = 20, 5
ALL = [f"order-{i}" for i in range(SETTLED)]
LOST = sorted(ALL[:-KEPT])


def look_around(deployment: Deployment, *, told: int = 0) -> None:
    """Have a replica go through all there is, once, until a person is told of so many."""
    with running(deployment) as made:
        eventually(lambda: group_is_through(deployment) and has_repaired(deployment, made.names.consumer))
        eventually(lambda: not_to_be_known(deployment) == told)


@pytest.fixture
def settled(deployment: Deployment) -> Deployment:
    deployment.submit(numbered_orders(SETTLED))
    with running(deployment, batch_size=1):
        eventually(deployment.all_settled)
    assert result_ids(deployment) == ALL
    return deployment


@pytest.fixture
def doubtful(settled: Deployment) -> Deployment:
    """Twenty orders were settled; then all results but the last five were trimmed, and all marks deleted."""
    settled.redis.xtrim(settled.results, maxlen=KEPT, approximate=False)
    delete_marks(settled, and_the_group=True)
    return settled


def test_nothing_is_published_again_and_each_order_is_told_when_results_were_trimmed_and_marks_deleted(
    doubtful: Deployment,
) -> None:
    """Proves that a doubled result is never the price of a guess, and that the guess is left to a person."""
    look_around(doubtful, told=SETTLED - KEPT)

    said = worker(doubtful, "status")
    assert result_ids(doubtful) == ALL[-KEPT:]
    assert said.returncode == 1
    assert said.stdout.startswith("Needs you: ")
    assert "worker audit --repair" in said.stdout
    assert orders_not_to_be_known(doubtful) == LOST


def die_before_publishing(deployment: Deployment, tmp_path: Path) -> None:
    """Have a replica commit what is on the stream, and die before it is settled."""
    with victim(deployment, tmp_path, "after COMMIT", "kill") as dying:
        assert dying.wait() == -signal.SIGKILL


def assert_is_published_once_or_told(deployment: Deployment, before: list[str], order_id: str) -> None:
    """Assert that a result goes out: at once if the server says none was deleted, else at a person's word."""
    look_around(deployment, told=0 if deletions_are_told(deployment) else 1)
    if not deletions_are_told(deployment):
        assert result_ids(deployment) == before
        assert orders_not_to_be_known(deployment, "--repair", "--republish") == [order_id]
    assert result_ids(deployment) == [*before, order_id]
    assert_audits_are_clean([deployment])


def test_result_that_nobody_has_published_goes_out_once_when_the_marks_were_deleted(
    settled: Deployment, tmp_path: Path
) -> None:
    """Proves that what died between COMMIT and settle is not taken for published: its result is nowhere."""
    settled.submit([small_order("unpublished")])
    die_before_publishing(settled, tmp_path)
    delete_marks(settled)

    assert_is_published_once_or_told(settled, ALL, "unpublished")

    assert_invariants(settled)


def test_result_that_nobody_has_published_goes_out_when_another_fleet_published_for_its_entry_id(
    fleets: tuple[Deployment, Deployment], tmp_path: Path
) -> None:
    """Proves that on a results stream which fleets share a result answers for its own order alone."""
    first, second = fleets
    second.results = first.results
    ids = first.submit([small_order("a1")])
    with running(first):
        eventually(first.all_settled)
    second.submit([small_order("b1")], under=ids)
    die_before_publishing(second, tmp_path)

    assert_is_published_once_or_told(second, ["a1"], "b1")

    assert_audits_are_clean(fleets)


def test_order_whose_result_was_deleted_by_hand_is_told_when_the_marks_were_deleted(
    settled: Deployment,
) -> None:
    """Proves the same of a result missing between others, where the server says that any was deleted."""
    if not deletions_are_told(settled):
        skip(Reason.COUNTS_NOTHING_ADDED)
    deleted, _ = settled.entries(settled.results)[7]
    settled.redis.xdel(settled.results, deleted)
    delete_marks(settled)

    look_around(settled, told=1)

    assert result_ids(settled) == [order_id for order_id in ALL if order_id != "order-7"]
    assert status(settled)[0] == 1
    assert orders_not_to_be_known(settled) == ["order-7"]


def test_new_orders_are_settled_while_a_person_is_asked_about_old_ones(doubtful: Deployment) -> None:
    """Proves that a question holds nothing up, and does not grow."""
    doubtful.submit([small_order(f"new-{i}") for i in range(10)])

    look_around(doubtful, told=SETTLED - KEPT)

    assert result_ids(doubtful)[KEPT:] == [f"new-{i}" for i in range(10)]
    assert orders_not_to_be_known(doubtful) == LOST


def test_question_is_asked_once_when_several_replicas_and_starts_come_to_it(doubtful: Deployment) -> None:
    """Proves that the answer stands for the fleet: a restart neither publishes nor forgets what is open."""
    with running(doubtful), running(doubtful):
        eventually(lambda: not_to_be_known(doubtful) == SETTLED - KEPT)
    look_around(doubtful, told=SETTLED - KEPT)

    assert result_ids(doubtful) == ALL[-KEPT:]
    assert orders_not_to_be_known(doubtful) == LOST


def test_nothing_is_published_and_nobody_is_asked_any_more_when_a_person_repairs(
    doubtful: Deployment,
) -> None:
    """Proves that `worker audit --repair` takes the results for published, for good."""
    look_around(doubtful, told=SETTLED - KEPT)

    decided = orders_not_to_be_known(doubtful, "--repair")

    assert decided == LOST
    assert not_to_be_known(doubtful) == 0
    doubtful.redis.xgroup_destroy(doubtful.orders, doubtful.group)
    look_around(doubtful)
    assert result_ids(doubtful) == ALL[-KEPT:]


def test_each_result_goes_out_again_once_when_a_person_publishes_again(doubtful: Deployment) -> None:
    """Proves that `worker audit --repair --republish` gives out what is missing, and that ends it."""
    look_around(doubtful, told=SETTLED - KEPT)

    for _ in range(2):
        audit(doubtful, "--repair", "--republish")
    look_around(doubtful)

    assert sorted(result_ids(doubtful)) == sorted(ALL)
    assert audit(doubtful) == (0, [])
    assert_invariants(doubtful)
