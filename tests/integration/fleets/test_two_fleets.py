"""Two fleets with their own streams record in one database: neither answers or publishes for the other."""

import pytest
from sqlalchemy import text

from local import LocalRedis
from tests.fleets import (
    Row,
    alike_by_halves,
    assert_audits_are_clean,
    audit,
    entry_ids,
    has_repaired,
    result_ids,
    rows,
    small_order,
)
from tests.harness import Deployment, Servers, assert_invariants, eventually, numbered_orders
from tests.inprocess import running
from worker.domain.fleets import source_of

Fleets = tuple[Deployment, Deployment]


def settle(deployment: Deployment) -> None:
    with running(deployment):
        eventually(deployment.all_settled)


@pytest.mark.parametrize("quantity", ["1", "2"], ids=["equal content", "other content"])
def test_each_fleet_has_its_own_result_when_an_entry_id_is_on_both_streams(
    fleets: Fleets, quantity: str
) -> None:
    """Proves case 2: an entry id is unique in one stream and nowhere else."""
    first, second = fleets
    (entry_id,) = first.submit([small_order("a1")])
    second.submit([small_order("b1", quantity)], under=[entry_id])

    settle(first)
    settle(second)

    assert (result_ids(first), result_ids(second)) == (["a1"], ["b1"])
    assert rows(first) == [
        Row("a1", entry_id, first.fleet.source, "FILLED"),
        Row("b1", entry_id, second.fleet.source, "FILLED"),
    ]
    assert_audits_are_clean(fleets)
    for fleet in fleets:
        assert_invariants(fleet)


def test_each_fleet_has_its_own_results_when_both_work_at_once_on_equal_entry_ids(fleets: Fleets) -> None:
    """Proves the same of batches, written at once, half of them of equal content."""
    first, second = fleets
    ids, pairs = entry_ids(400), list(alike_by_halves(400))

    with running(first) as one, running(second) as other:
        for begin in range(0, 400, 100):
            first.submit([order for order, _ in pairs[begin : begin + 100]], under=ids[begin:])
            second.submit([order for _, order in pairs[begin : begin + 100]], under=ids[begin:])
        eventually(lambda: first.all_settled() and second.all_settled())

    assert sorted(result_ids(first)) == sorted(order["order_id"] for order, _ in pairs)
    assert sorted(result_ids(second)) == sorted(order["order_id"] for _, order in pairs)
    assert len(rows(first)) == 800
    assert_audits_are_clean(fleets)
    assert_invariants(first, one.worker.tally)
    assert_invariants(second, other.worker.tally)


@pytest.mark.parametrize("quantity", ["1", "2"], ids=["equal content", "other content"])
@pytest.mark.parametrize("entry_id", ["the same", "another"])
def test_order_is_a_conflict_that_names_the_source_when_a_fleet_with_other_results_had_it_before(
    fleets: Fleets, quantity: str, entry_id: str
) -> None:
    """Proves that nobody waits for ever: its result is on a stream that its own readers do not read."""
    first, second = fleets
    ids = first.submit([small_order("o1")])
    second.submit([small_order("o1", quantity)], under=ids if entry_id == "the same" else ["*"])

    settle(first)
    settle(second)

    (letter,) = second.letters()
    assert (letter["reason"], letter["order_id"]) == (b"conflict", b"o1")
    assert first.fleet.source.encode() in letter["error"]
    assert (result_ids(first), result_ids(second)) == (["o1"], [])
    assert [row.source for row in rows(first)] == [first.fleet.source]
    assert first.letters() == []
    assert_audits_are_clean(fleets)


def test_order_is_a_duplicate_when_a_fleet_with_the_same_results_had_it_before(fleets: Fleets) -> None:
    """Proves that a retry on another stream is a retry: its readers have had its result."""
    first, second = fleets
    second.results = first.results
    first.submit([small_order("o1")])
    settle(first)

    # Within one millisecond both would have one entry id, as of a stream that was renamed.
    second.submit([small_order("o1")])
    with running(second) as made:
        eventually(second.all_settled)

    assert (made.worker.tally.duplicate, made.worker.tally.filled) == (1, 0)
    assert result_ids(first) == ["o1"]
    assert [row.source for row in rows(first)] == [first.fleet.source]
    assert (first.letters(), second.letters()) == ([], [])
    assert_audits_are_clean(fleets)


def test_order_of_other_content_is_a_conflict_when_a_fleet_with_the_same_results_had_it_before(
    fleets: Fleets,
) -> None:
    """Proves that the content is compared across fleets as within one."""
    first, second = fleets
    second.results = first.results
    first.submit([small_order("o1")])
    second.submit([small_order("o1", "2")])

    settle(first)
    settle(second)

    (letter,) = second.letters()
    assert (letter["reason"], letter["order_id"]) == (b"conflict", b"o1")
    assert result_ids(first) == ["o1"]
    assert_audits_are_clean(fleets)


def test_each_order_has_its_result_when_fleets_share_results_and_entry_ids(fleets: Fleets) -> None:
    """Proves that a mark on a results stream says whose entry was settled."""
    first, second = fleets
    second.results = first.results
    ids = first.submit([small_order("a1"), small_order("a2")])
    second.submit([small_order("b1"), small_order("b2")], under=ids)

    settle(first)
    settle(second)

    assert sorted(result_ids(first)) == ["a1", "a2", "b1", "b2"]
    assert len(rows(first)) == 4
    assert_audits_are_clean(fleets)


def test_repair_publishes_nothing_of_another_fleet_when_it_starts_second(fleets: Fleets) -> None:
    """Proves that what was committed lately by others is not taken for lost, on either side."""
    first, second = fleets
    first.submit(numbered_orders(50))
    settle(first)

    with running(second) as made:
        second.submit([small_order("b1")])
        eventually(second.all_settled)
        eventually(lambda: has_repaired(second, made.names.consumer))
    with running(first) as made:
        eventually(lambda: has_repaired(first, made.names.consumer))

    assert result_ids(second) == ["b1"]
    assert len(result_ids(first)) == 50
    assert_audits_are_clean(fleets)
    for fleet in fleets:
        assert_invariants(fleet)


def test_repair_by_hand_gives_out_nothing_of_another_fleet(fleets: Fleets) -> None:
    """Proves that who publishes one fleet's results again leaves the other's alone, and gets all its own."""
    first, second = fleets
    ids = first.submit(numbered_orders(20))
    second.submit([small_order(f"b{i}") for i in range(20)], under=ids)
    for fleet in fleets:
        settle(fleet)
    first.redis.delete(first.results)

    of_second = audit(second, "--repair", "--republish")
    of_first = audit(first, "--repair", "--republish")

    assert (of_second, of_first[0], len(of_first[1])) == ((0, []), 0, 20)
    assert sorted(result_ids(first)) == sorted(f"order-{i}" for i in range(20))
    assert sorted(result_ids(second)) == sorted(f"b{i}" for i in range(20))
    assert_audits_are_clean(fleets)


def test_fleets_of_equal_stream_names_on_two_servers_keep_apart_when_each_has_a_source_of_its_own(
    deployment: Deployment, own_redis: LocalRedis
) -> None:
    """Proves that WORKER_SOURCE tells fleets apart that nothing else does."""
    servers = Servers(own_redis.url, deployment.servers.database_url)
    ids = entry_ids(30)
    with deployment.elsewhere(servers) as elsewhere:
        for fleet, source, order_id in ((deployment, "here", "a"), (elsewhere, "there", "b")):
            fleet.submit([small_order(f"{order_id}{i}") for i in range(30)], under=ids)
            with running(fleet, source=source):
                eventually(fleet.all_settled)

        assert sorted(result_ids(deployment)) == sorted(f"a{i}" for i in range(30))
        assert sorted(result_ids(elsewhere)) == sorted(f"b{i}" for i in range(30))
        assert {(row.order_id[0], row.source) for row in rows(deployment)} == {("a", "here"), ("b", "there")}
        assert_audits_are_clean([deployment], source="here")
        assert_audits_are_clean([elsewhere], source="there")


def test_derived_order_id_begins_with_the_source_and_its_row_belongs_to_it(deployment: Deployment) -> None:
    """Proves that orders without an id are told apart across fleets whose streams have one name."""
    (entry_id,) = deployment.submit([{"symbol": "BTCUSDT", "side": "BUY", "quantity": "1"}])

    with running(deployment, source="venue-a", paper_success_rate=1):
        eventually(deployment.all_settled)

    assert rows(deployment) == [Row(f"venue-a:{entry_id}", entry_id, "venue-a", "FILLED")]
    assert result_ids(deployment) == [f"venue-a:{entry_id}"]


def test_source_is_the_name_of_the_orders_stream_without_what_no_order_id_can_hold(
    deployment: Deployment,
) -> None:
    """Proves the default, and that which streams a source publishes on is written down."""
    deployment.orders = f"{deployment.prefix}:{{or}}ders#2"
    deployment.submit([small_order("a1")])

    settle(deployment)

    source = f"{source_of(deployment.prefix)}:orders2"
    assert [row.source for row in rows(deployment)] == [source]
    with deployment.database.transaction() as connection:
        known = connection.execute(text("SELECT source, results FROM order_sources")).all()
    assert [tuple(each) for each in known] == [(source, deployment.results)]
