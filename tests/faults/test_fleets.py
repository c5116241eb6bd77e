"""Two fleets on one database, under load and faults: equal entry ids, but rows and results of their own."""

import signal
from itertools import chain
from pathlib import Path

import pytest

from tests.faults.flow import ORDERS, TIMES, WITHIN_S
from tests.fleets import alike_by_halves, assert_audits_are_clean, delete_marks, entry_ids, result_ids, rows
from tests.harness import Deployment, assert_invariants, eventually
from tests.processes import WorkerProcess, workers

Fleets = tuple[Deployment, Deployment]

pytestmark = pytest.mark.timeout(300)


def submit(fleets: Fleets, begin: int, end: int, ids: list[str]) -> None:
    """Add a stretch of both fleets' orders: those of one place share an id, every second pair its content."""
    ours, others = zip(*alike_by_halves(end), strict=True)
    fleets[0].submit(ours[begin:], under=ids[begin:end])
    fleets[1].submit(others[begin:], under=ids[begin:end])


def are_settled(fleets: Fleets) -> bool:
    return all(fleet.all_settled() for fleet in fleets)


def assert_each_has_its_own(fleets: Fleets) -> None:
    """Assert that each fleet has a row and a result for each of its orders, and nothing of the other's."""
    owners = {row.order_id: row.source for row in rows(fleets[0])}
    assert len(owners) == 2 * ORDERS
    for fleet, prefix in zip(fleets, ("first", "second"), strict=True):
        own = [f"{prefix}-{i}" for i in range(ORDERS)]
        assert sorted(result_ids(fleet)) == sorted(own)
        assert {owners[order_id] for order_id in own} == {fleet.orders}
        assert fleet.letters() == []
    assert_audits_are_clean(fleets)
    for fleet in fleets:
        assert_invariants(fleet)


def kill(*replicas: WorkerProcess) -> None:
    for replica in replicas:
        replica.signal(signal.SIGKILL)
        replica.wait()


def test_each_fleet_has_its_own_rows_and_results_when_replicas_of_both_are_killed_on_equal_entry_ids(
    fleets: Fleets, tmp_path: Path
) -> None:
    """Proves that the other's row of an entry id never answers what a fleet redelivers, claims or repairs."""
    ids, half = entry_ids(ORDERS), ORDERS // 2
    submit(fleets, 0, half, ids)

    with (
        workers(fleets[0], tmp_path, 2, **TIMES) as (dying, staying),
        workers(fleets[1], tmp_path, 2, **TIMES) as (dying_too, staying_too),
    ):
        eventually(lambda: all(len(result_ids(fleet)) > half // 5 for fleet in fleets), within=WITHIN_S)
        submit(fleets, half, ORDERS, ids)
        kill(dying, dying_too)
        with workers(fleets[0], tmp_path, 1, **TIMES) as (third,):
            eventually(lambda: are_settled(fleets), within=WITHIN_S)
            assert [each.drain() for each in (staying, staying_too, third)] == [0, 0, 0]

    assert_each_has_its_own(fleets)


@pytest.mark.parametrize("lost", ["both groups", "marks and groups"])
def test_each_fleet_keeps_its_own_results_when_both_lose_what_they_knew_of_equal_entry_ids(
    fleets: Fleets, tmp_path: Path, lost: str
) -> None:
    """Proves that a redelivery of everything finds rows and results of its own fleet alone."""
    ids = entry_ids(ORDERS)
    submit(fleets, 0, ORDERS, ids)

    with (
        workers(fleets[0], tmp_path, 1, **TIMES) as (one,),
        workers(fleets[1], tmp_path, 1, **TIMES) as (other,),
    ):
        eventually(lambda: all(len(result_ids(fleet)) > ORDERS // 2 for fleet in fleets), within=WITHIN_S)
        for fleet in fleets:
            if lost == "marks and groups":
                delete_marks(fleet, and_the_group=True)
            else:
                fleet.redis.xgroup_destroy(fleet.orders, fleet.group)
        eventually(lambda: are_settled(fleets), within=WITHIN_S)
        eventually(lambda: all(len(result_ids(fleet)) >= ORDERS for fleet in fleets), within=WITHIN_S)
        assert (one.drain(), other.drain()) == (0, 0)

    assert_each_has_its_own(fleets)


def test_each_fleet_gets_its_own_results_back_when_redis_lost_everything(
    fleets: Fleets, tmp_path: Path
) -> None:
    """Proves that the repair after a FLUSHALL gives each results stream what belongs there, and all of it."""
    submit(fleets, 0, ORDERS, entry_ids(ORDERS))

    with (
        workers(fleets[0], tmp_path, 2, **TIMES) as ours,
        workers(fleets[1], tmp_path, 2, **TIMES) as others,
    ):
        eventually(lambda: are_settled(fleets), within=WITHIN_S)
        for fleet in fleets:
            fleet.redis.delete(*fleet.all_keys())
        eventually(lambda: all(len(result_ids(fleet)) >= ORDERS for fleet in fleets), within=WITHIN_S)
        assert [each.drain() for each in chain(ours, others)] == [0, 0, 0, 0]

    for fleet, prefix in zip(fleets, ("first", "second"), strict=True):
        assert sorted(result_ids(fleet)) == sorted(f"{prefix}-{i}" for i in range(ORDERS))
    assert_audits_are_clean(fleets)
