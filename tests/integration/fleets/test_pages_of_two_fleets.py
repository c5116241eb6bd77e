"""What pages and commands of two fleets on one database show: each its own orders, even at equal ids."""

import json
from typing import Any

import pytest

from tests.commands import command
from tests.fleets import small_order, status
from tests.harness import Deployment, eventually
from tests.inprocess import running
from tests.unit.test_server import ask

Fleets = tuple[Deployment, Deployment]
# A quantity of 0 breaks a business rule: what the second fleet has differs from what the first has.
ORDERS = ({"a1": "1", "a2": "1"}, {"b1": "0"})
OUTCOMES = ({"FILLED": 2}, {"REJECTED": 1})


@pytest.fixture
def worked(fleets: Fleets) -> Fleets:
    """The first fleet filled two orders; the second rejected one, under the entry id of the first's first."""
    ids: list[str] = []
    for fleet, orders in zip(fleets, ORDERS, strict=True):
        ids = fleet.submit((small_order(*each) for each in orders.items()), under=ids or ["*", "*"])
        with running(fleet, paper_success_rate=1):
            eventually(fleet.all_settled)
    return fleets


def life(deployment: Deployment, identifier: str) -> dict[str, Any]:
    """What `worker show --json` tells, by station."""
    done = command(deployment, "show", identifier, "--json")
    assert done.exit_code == 0, done.output
    return {station["what"]: station for station in json.loads(done.stdout)["life"]}


def page_of_orders(deployment: Deployment) -> set[str]:
    """The order ids that a replica shows."""
    with running(deployment) as made:
        eventually(lambda: ask(made.server.port, "/orders")[0] == 200)
        _, _, body = ask(made.server.port, "/orders")
    return {each["order_id"] for each in json.loads(body)["orders"]}


def test_page_of_orders_shows_those_of_its_own_fleet(worked: Fleets) -> None:
    assert [page_of_orders(fleet) for fleet in worked] == [set(orders) for orders in ORDERS]


def test_entry_is_shown_with_the_order_of_its_own_fleet_when_another_has_one_of_its_id(
    worked: Fleets,
) -> None:
    """Proves that whoever looks an entry up is told of the order that came with it, and of its fate."""
    entry_id = worked[0].accepted[0]
    assert entry_id == worked[1].accepted[0]

    found = [life(fleet, entry_id) for fleet in worked]

    assert [each["entered"]["order"] for each in found] == ["a1", "b1"]
    assert [each["committed"]["status"] for each in found] == ["FILLED", "REJECTED"]
    assert [each["result"]["entry"] for each in found] == [
        fleet.entries(fleet.results)[0][0] for fleet in worked
    ]
    assert not any("by another source" in each["committed"] for each in found)


def test_order_of_another_fleet_is_shown_as_that_of_another_source(worked: Fleets) -> None:
    """Proves that an order id, which a database has once, leads from anywhere to its row, and whose it is."""
    first, second = worked

    found = life(second, "a2"), life(first, "b1")

    assert [each["committed"]["by another source"] for each in found] == [
        first.fleet.source,
        second.fleet.source,
    ]
    said = command(second, "show", "a2").stdout
    assert f"by another source {first.fleet.source}" in said


def test_outcomes_of_the_last_hour_are_those_of_the_own_fleet(worked: Fleets) -> None:
    outcomes = [status(fleet)[1]["database"]["outcomes"]["last_hour"] for fleet in worked]
    said = command(worked[1], "status").stdout

    assert outcomes == list(OUTCOMES)
    assert "REJECTED" in said
    assert "FILLED" not in said
