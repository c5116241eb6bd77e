"""Rows of which nobody can tell whose they are: none is published by itself, a person is told and decides."""

import pytest
from sqlalchemy import text

from tests.commands import command
from tests.fleets import (
    PATIENT,
    as_the_version_before_left_it,
    audit,
    has_repaired,
    result_ids,
    small_order,
)
from tests.harness import Deployment, eventually, numbered_orders
from tests.inprocess import running

FEW = 10


def settle_few(deployment: Deployment) -> list[str]:
    """Have a few orders settled; return their entries."""
    entries = deployment.submit(numbered_orders(FEW))
    with running(deployment):
        eventually(deployment.all_settled)
    return entries


def a_minute_passes(deployment: Deployment) -> None:
    """Have every stream in the book stand as if nobody had worked on it for more than a minute."""
    with deployment.database.transaction() as connection:
        connection.execute(text("UPDATE order_sources SET last_seen = last_seen - interval '61 s'"))


def test_repair_publishes_nothing_while_two_servers_are_worked_on_as_one_source(
    deployment: Deployment, elsewhere: Deployment
) -> None:
    """Proves that the second server does not give out what the first has, also in its first moment."""
    settle_few(deployment)
    elsewhere.submit([small_order("b1")])

    with running(elsewhere) as made:
        eventually(elsewhere.all_settled)
        elsewhere.submit([small_order("b2")])
        eventually(elsewhere.all_settled)
        assert not has_repaired(elsewhere, made.names.consumer)

        assert result_ids(elsewhere) == ["b1", "b2"]


def test_repair_by_hand_is_refused_while_two_servers_were_worked_on_as_one_source(
    deployment: Deployment, elsewhere: Deployment
) -> None:
    """Proves that an audit says so first, and that its repair changes nothing.

    It works once that was a minute ago.
    """
    for fleet, order_id in ((deployment, "a1"), (elsewhere, "b1")):
        fleet.submit([small_order(order_id)])
        with running(fleet, repair_window_s=0):
            eventually(fleet.all_settled)
    looked = command(elsewhere, "audit", **PATIENT)
    refused = command(elsewhere, "audit", "--repair", **PATIENT)

    assert "warning: 2 orders streams were worked on as the source" in looked.stderr
    assert (refused.exit_code, result_ids(elsewhere)) == (78, ["b1"])
    assert "told apart by nothing" in refused.stderr
    a_minute_passes(elsewhere)
    assert "warning" not in command(elsewhere, "audit", **PATIENT).stderr


def test_new_fleet_publishes_nothing_of_a_fleet_of_the_version_before(
    fleets: tuple[Deployment, Deployment],
) -> None:
    """Proves that who is in no book may still be there.

    Rows without a source are nobody's until a person says so.
    """
    first, second = fleets
    settle_few(first)
    as_the_version_before_left_it(first)
    second.submit([small_order("b1")])

    with running(second) as made:
        eventually(second.all_settled)
        eventually(lambda: has_repaired(second, made.names.consumer))

    assert result_ids(second) == ["b1"]
    code, findings = audit(second, "--repair", "--republish")
    assert (code, result_ids(second)) == (1, ["b1"])
    assert [each["what"].partition(" have")[0] for each in findings] == [f"{FEW} rows without a source"]


def test_results_of_rows_without_a_source_go_out_again_when_a_person_claims_them(
    deployment: Deployment,
) -> None:
    """Proves that after a FLUSHALL what the version before has committed is told, and published on demand."""
    settle_few(deployment)
    as_the_version_before_left_it(deployment)
    deployment.redis.delete(*deployment.all_keys())

    with running(deployment) as made:
        eventually(lambda: has_repaired(deployment, made.names.consumer))
    told = audit(deployment)
    code, _ = audit(deployment, "--repair", "--republish", "--unsourced")

    assert (told[0], [each["order_id"] for each in told[1]]) == (1, [None])
    assert code == 0
    assert sorted(result_ids(deployment)) == sorted(f"order-{i}" for i in range(FEW))
    assert audit(deployment) == (0, [])


@pytest.mark.parametrize("entries", ["all", "all but the first"])
def test_audit_names_rows_without_a_source_when_their_results_and_entries_are_gone(
    deployment: Deployment, entries: str
) -> None:
    """Proves that an audit does not call well what it can't see."""
    ids = settle_few(deployment)
    as_the_version_before_left_it(deployment)
    deployment.redis.delete(deployment.results, f"{deployment.orders}:settled:{deployment.group}")
    gone = ids if entries == "all" else ids[1:]
    deployment.redis.xdel(deployment.orders, *gone)

    code, findings = audit(deployment)

    assert code == 1
    assert any(each["what"].startswith(f"{len(gone)} rows without a source") for each in findings)
