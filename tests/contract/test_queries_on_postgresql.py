"""The rows that people and pages are told of: those of their own source, whatever else the database holds."""

import time
from decimal import Decimal

import pytest
from sqlalchemy import text

from tests.builders import record
from tests.harness import Deployment
from worker.domain.database_state import Took
from worker.domain.fleets import Fleet
from worker.domain.orders import OrderRecord, Status
from worker.store import OrderStore, StoreInspector

OURS, ITS = Fleet("ours", "results"), Fleet("its", "other-results")
INTENT = record(
    "b",
    entry_id="1-1",
    status=Status.SUBMITTED,
    filled_quantity=Decimal(0),
    average_price=None,
    trades=(),
)
BOTH = pytest.mark.parametrize(("fleet", "order_id"), [(OURS, "a"), (ITS, "b")], ids=["ours", "its"])


def write(deployment: Deployment, fleet: Fleet, *rows: OrderRecord) -> None:
    OrderStore(deployment.entered(), fleet).record(rows)


def inspector(deployment: Deployment, fleet: Fleet) -> StoreInspector:
    return StoreInspector(deployment.entered(), fleet)


@pytest.fixture
def met(deployment: Deployment) -> Deployment:
    """Two sources that have a row each, of entries with one id."""
    write(deployment, OURS, record("a", entry_id="1-1"))
    write(deployment, ITS, INTENT)
    return deployment


@BOTH
def test_recent_orders_are_those_of_the_own_source_and_those_without_one(
    met: Deployment, fleet: Fleet, order_id: str
) -> None:
    write(met, OURS, record("of-before", entry_id="0-1"))
    with met.database.transaction() as connection:
        connection.execute(text("UPDATE orders SET source = '' WHERE order_id = 'of-before'"))

    found = inspector(met, fleet).recent(10)

    assert {each.order_id for each in found.orders} == {order_id, "of-before"}


@BOTH
def test_entry_id_means_the_row_of_the_own_source(met: Deployment, fleet: Fleet, order_id: str) -> None:
    found = inspector(met, fleet).row("1-1")

    assert found is not None
    assert (found.record.order_id, found.source) == (order_id, fleet.source)


@BOTH
def test_order_id_means_its_row_whichever_source_that_is_of(
    met: Deployment, fleet: Fleet, order_id: str
) -> None:
    found = {name: inspector(met, fleet).row(name) for name in ("a", "b")}

    assert {name: row.source for name, row in found.items() if row} == {"a": "ours", "b": "its"}
    assert order_id in found


@BOTH
def test_outcomes_of_the_last_hour_are_those_of_the_own_source(
    met: Deployment, fleet: Fleet, order_id: str
) -> None:
    expected = {"a": {"FILLED": 1}, "b": {"SUBMITTED": 1}}[order_id]

    assert inspector(met, fleet).outcomes([]).last_hour == expected


def test_order_without_an_outcome_is_told_to_its_own_source_alone(met: Deployment) -> None:
    """Proves that our pending entry is not taken for the one that another source has sent to a venue."""
    ours, its = (inspector(met, fleet).outcomes(["1-1"]) for fleet in (OURS, ITS))

    assert (ours.submitted, ours.a_submitted) == (0, None)
    assert (its.submitted, its.a_submitted) == (1, "b")


def test_row_recorded_last_is_one_of_the_own_source(met: Deployment) -> None:
    """Proves that a fleet that records nothing is not taken for one at work because another is."""
    silent, busy = (inspector(met, fleet).outcomes([]) for fleet in (Fleet("silent", "results"), OURS))

    assert silent.last_recorded_age_s is None
    assert busy.last_recorded_age_s is not None


@pytest.mark.parametrize("order_id", ["a", "b", "of-before"])
@pytest.mark.parametrize("fleet", [OURS, ITS], ids=["ours", "its"])
def test_row_that_stands_for_an_order_is_told_as_a_new_entry_of_it_would_meet_it(
    met: Deployment, fleet: Fleet, order_id: str
) -> None:
    write(met, OURS, record("of-before", entry_id="0-1"))
    with met.database.transaction() as connection:
        connection.execute(text("UPDATE orders SET source = '' WHERE order_id = 'of-before'"))

    told = inspector(met, fleet).standing(order_id)

    (stands,) = OrderStore(met.entered(), fleet).record([record(order_id, entry_id="9-1")])
    assert told == stands
    assert told.entry_id != "9-1"


def test_no_row_stands_for_an_order_that_nobody_has_recorded(met: Deployment) -> None:
    assert inspector(met, OURS).standing("c") is None


def timed(deployment: Deployment, *came_s_ago: float | None) -> Took | None:
    """How long orders took that came so long before their rows; None: the row names no entry."""
    now_ms = int(time.time() * 1000)
    for number, ago_s in enumerate(came_s_ago):
        entry_id = f"junk-{number}" if ago_s is None else f"{now_ms - int(ago_s * 1000)}-{number}"
        write(deployment, OURS, record(f"timed-{number}", entry_id=entry_id))
    return inspector(deployment, OURS).state().took


def test_orders_are_timed_from_their_entries_to_their_rows_whatever_others_have_named(
    deployment: Deployment,
) -> None:
    write(deployment, ITS, record("its", entry_id="1-1"))

    took = timed(deployment, None, 5.0, 5.0, 60.0)

    assert took is not None
    assert 5_000 <= took.median_ms < 60_000 <= took.p95_ms < 600_000


def test_order_that_came_later_than_its_row_took_no_time(deployment: Deployment) -> None:
    assert timed(deployment, -3600.0) == Took(0.0, 0.0)


def test_nothing_is_timed_where_nothing_was_recorded_lately(deployment: Deployment) -> None:
    assert timed(deployment) is None
