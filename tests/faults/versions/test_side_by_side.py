"""Replicas of the last version and this one share streams and database while the schema is migrated."""

from pathlib import Path

import pytest

from tests.commands import command
from tests.faults.flow import ORDERS, TIMES, assert_one_result_each, come_to_rest, drain, flowing, kill
from tests.faults.versions import last
from tests.fleets import (
    assert_audits_are_clean,
    delete_marks,
    group_is_through,
    has_repaired,
    result_ids,
    rows,
    small_order,
)
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.inprocess import running
from tests.processes import ROOT, workers

STRETCH = ORDERS // 5
FEW = [f"order-{i}" for i in range(20)]

pytestmark = pytest.mark.timeout(300)


def test_each_order_has_one_row_and_one_result_when_this_version_takes_over_from_the_last_under_load(
    empty_database: Deployment, last_version: Path, tmp_path: Path
) -> None:
    """Proves that an upgrade takes no pause.

    The schema is migrated under load, both versions work, some of both are killed, and the last one goes.
    """
    deployment = empty_database
    last.migrate(last_version, deployment)

    with flowing(deployment) as flow, workers(deployment, tmp_path, 2, last_version, **TIMES) as before:
        flow.await_more(STRETCH)
        last.migrate(ROOT, deployment)
        flow.await_more(STRETCH)
        with workers(deployment, tmp_path, 2, **TIMES) as after:
            flow.await_more(STRETCH)
            kill(before[0], after[0])
            # As a supervisor does that has not heard of the new version yet.
            with workers(deployment, tmp_path, 1, last_version, **TIMES) as again:
                flow.await_more(STRETCH)
                drain(before[1], *again)
            flow.await_more(STRETCH)
            come_to_rest(deployment, flow, after[1])

    assert_one_result_each(deployment, flow)


def test_each_order_has_one_row_and_one_result_when_the_last_version_takes_over_again_under_load(
    empty_database: Deployment, last_version: Path, tmp_path: Path
) -> None:
    """Proves that an upgrade can be taken back: what this version has settled is settled for the last one."""
    deployment = empty_database
    last.migrate(last_version, deployment)

    with flowing(deployment) as flow, workers(deployment, tmp_path, 1, last_version, **TIMES) as before:
        flow.await_more(STRETCH)
        last.migrate(ROOT, deployment)
        with workers(deployment, tmp_path, 2, **TIMES) as (dying, leaving):
            flow.await_more(STRETCH)
            drain(*before)
            flow.await_more(STRETCH)
            kill(dying)
            with workers(deployment, tmp_path, 2, last_version, **TIMES) as again:
                flow.await_more(STRETCH)
                drain(leaving)
                flow.await_more(STRETCH)
                come_to_rest(deployment, flow, *again)

    assert_one_result_each(deployment, flow)


@pytest.fixture
def settled_by_the_last(empty_database: Deployment, last_version: Path, tmp_path: Path) -> Deployment:
    """A few orders that the last version has settled, with the schema of this one."""
    last.migrate(last_version, empty_database)
    empty_database.submit(numbered_orders(len(FEW)))
    with workers(empty_database, tmp_path, 1, last_version) as (replica,):
        eventually(empty_database.all_settled)
        drain(replica)
    last.migrate(ROOT, empty_database)
    return empty_database


@pytest.mark.parametrize("lost", ["nothing", "the group", "the marks", "the marks and the group"])
def test_nothing_is_published_again_when_this_version_follows_the_last_and_something_was_lost(
    settled_by_the_last: Deployment, lost: str
) -> None:
    """Proves that what the last version really leaves, rows and marks, is understood."""
    deployment = settled_by_the_last
    if "marks" in lost:
        delete_marks(deployment)
    if "group" in lost:
        deployment.redis.xgroup_destroy(deployment.orders, deployment.group)

    with running(deployment) as made:
        eventually(lambda: group_is_through(deployment) and has_repaired(deployment, made.names.consumer))

    assert result_ids(deployment) == FEW
    assert_audits_are_clean([deployment])
    assert_invariants(deployment, made.worker.tally)


def test_last_version_starts_on_the_newer_schema_and_leaves_rows_as_it_always_did(
    settled_by_the_last: Deployment, last_version: Path, tmp_path: Path
) -> None:
    """Proves that the tests above run two versions.

    A supervisor that migrates first does not stop the last one, either.
    """
    deployment = settled_by_the_last
    last.migrate(last_version, deployment)
    for order_id, tree in (("of-the-last", last_version), ("of-this", ROOT)):
        deployment.submit([small_order(order_id)])
        with workers(deployment, tmp_path, 1, tree) as (replica,):
            eventually(deployment.all_settled)
            drain(replica)

    owners = {row.order_id: row.source for row in rows(deployment)}
    assert (owners["of-the-last"], owners["of-this"]) == ("", deployment.orders)
    assert result_ids(deployment) == [*FEW, "of-the-last", "of-this"]
    assert_audits_are_clean([deployment])


def await_its_repair(deployment: Deployment, tree: Path, folder: Path) -> None:
    """Have a replica of the version in a tree look for what was lost, once, as each does at its start."""
    noted = f"{deployment.orders}:repaired:{deployment.group}"
    deployment.redis.delete(noted)
    with workers(deployment, folder, 1, tree) as (replica,):
        eventually(lambda: deployment.redis.exists(noted) == 1)
        eventually(lambda: group_is_through(deployment))
        drain(replica)


def test_last_version_publishes_nothing_again_when_it_starts_where_only_this_one_has_settled(
    empty_database: Deployment, last_version: Path, tmp_path: Path
) -> None:
    """Proves that an upgrade can be taken back even where no marks of the last version were left."""
    deployment = empty_database
    last.migrate(last_version, deployment)
    last.migrate(ROOT, deployment)
    deployment.submit(numbered_orders(len(FEW)))
    with running(deployment):
        eventually(deployment.all_settled)

    await_its_repair(deployment, last_version, tmp_path)

    assert result_ids(deployment) == FEW


def test_last_version_publishes_nothing_again_when_redis_was_flushed_during_an_upgrade(
    settled_by_the_last: Deployment, last_version: Path, tmp_path: Path
) -> None:
    """Proves the same of what this version had to publish once more."""
    deployment = settled_by_the_last
    deployment.redis.delete(*deployment.all_keys())
    with running(deployment) as made:
        eventually(lambda: has_repaired(deployment, made.names.consumer))
        deployment.submit([small_order("new")])
        eventually(deployment.all_settled)
    # Whose rows the last version left nobody can tell here: a person says that they are this fleet's.
    told = command(deployment, "audit", "--repair", "--unsourced")
    published = result_ids(deployment)

    await_its_repair(deployment, last_version, tmp_path)

    assert told.exit_code == 0, told.output
    assert sorted(published) == sorted([*FEW, "new"])
    assert result_ids(deployment) == published
