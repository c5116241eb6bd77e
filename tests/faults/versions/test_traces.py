"""Orders with traces, worked on by the last version, which knows none, and by this one, in either order."""

import json
from pathlib import Path

import pytest

from tests.faults.flow import drain
from tests.faults.versions import last
from tests.fleets import assert_audits_are_clean, delete_marks, group_is_through, has_repaired, result_ids
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.inprocess import running
from tests.processes import ROOT, workers

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
COUNT = 40

pytestmark = pytest.mark.timeout(300)


def submit(deployment: Deployment, orders: list[dict[str, str]]) -> None:
    """Add orders in all forms that a traceparent may stand in."""
    deployment.submit([{**each, "traceparent": TRACEPARENT} for each in orders[::2]])
    for each in orders[1::2]:
        deployment.add_raw("payload", json.dumps(each), "traceparent", TRACEPARENT)


def test_each_order_with_a_trace_has_one_row_and_one_result_while_both_versions_work(
    empty_database: Deployment, last_version: Path, tmp_path: Path
) -> None:
    """Proves that both take such orders, and that an audit minds neither kind of row and result."""
    deployment = empty_database
    last.migrate(last_version, deployment)
    last.migrate(ROOT, deployment)
    orders = numbered_orders(COUNT)

    with workers(deployment, tmp_path, 1, last_version, batch_size=4) as before:
        submit(deployment, orders[: COUNT // 2])
        eventually(deployment.all_settled)
        with workers(deployment, tmp_path, 1, batch_size=4) as after:
            submit(deployment, orders[COUNT // 2 :])
            eventually(deployment.all_settled)
            drain(*before, *after)

    assert sorted(result_ids(deployment)) == sorted(each["order_id"] for each in orders)
    assert deployment.letters() == []
    assert_audits_are_clean([deployment])


def test_result_of_a_traced_row_that_the_last_version_publishes_is_no_finding(
    empty_database: Deployment, last_version: Path, tmp_path: Path
) -> None:
    """Proves that a replica of either version may answer from a row of the other."""
    deployment = empty_database
    last.migrate(last_version, deployment)
    last.migrate(ROOT, deployment)
    submit(deployment, numbered_orders(COUNT))
    with running(deployment) as made:
        eventually(deployment.all_settled)
    assert {each["traceparent"] for each in deployment.published()} == {TRACEPARENT}
    assert_invariants(deployment, made.worker.tally)

    deployment.redis.delete(deployment.results)
    delete_marks(deployment)
    deployment.redis.delete(f"{deployment.orders}:repaired:{deployment.group}")
    with workers(deployment, tmp_path, 1, last_version) as (replica,):
        eventually(lambda: len(deployment.published()) == COUNT)
        drain(replica)
    assert not any("traceparent" in each for each in deployment.published())
    with running(deployment) as again:
        eventually(lambda: group_is_through(deployment) and has_repaired(deployment, again.names.consumer))

    assert len(deployment.published()) == COUNT
    assert_audits_are_clean([deployment])
