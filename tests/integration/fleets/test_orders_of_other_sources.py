"""An order of another source: a duplicate only where its result is known to stand on our results stream."""

import pytest
import redis

from local import LocalRedis
from tests.fleets import as_the_version_before_left_it, audit, result_ids, small_order
from tests.harness import Deployment, Servers, eventually
from tests.inprocess import running


def settle(deployment: Deployment, source: str) -> None:
    with running(deployment, source=source):
        eventually(deployment.all_settled)


def reasons(deployment: Deployment) -> list[bytes]:
    return [letter["reason"] for letter in deployment.letters()]


def test_order_is_a_conflict_when_the_results_of_its_source_are_on_another_server(
    deployment: Deployment, elsewhere: Deployment
) -> None:
    """Proves that equal names of results streams prove nothing: readers here have not had its result."""
    for fleet, source in ((deployment, "here"), (elsewhere, "there")):
        fleet.submit([small_order("o1")])
        settle(fleet, source)

    assert (result_ids(deployment), result_ids(elsewhere)) == (["o1"], [])
    assert reasons(elsewhere) == [b"conflict"]
    assert b"'here'" in elsewhere.letters()[0]["error"]


def test_order_is_a_conflict_when_the_results_of_its_source_are_in_another_database_of_the_server(
    deployment: Deployment, own_redis: LocalRedis
) -> None:
    """Proves the same of database numbers."""
    place = redis.Redis.from_url(own_redis.url).connection_pool.connection_kwargs
    second = f"{own_redis.url}{'&' if '?' in own_redis.url else '?'}db=3"
    assert place.get("db", 0) == 0
    database_url = deployment.servers.database_url
    with (
        deployment.elsewhere(Servers(own_redis.url, database_url)) as one,
        deployment.elsewhere(Servers(second, database_url)) as other,
    ):
        for fleet, source in ((one, "here"), (other, "there")):
            fleet.submit([small_order("o1")])
            settle(fleet, source)

        assert (result_ids(one), result_ids(other)) == (["o1"], [])
        assert reasons(other) == [b"conflict"]


@pytest.mark.parametrize("moved", ["away from here", "to here"])
def test_order_is_a_conflict_when_its_source_published_it_elsewhere_before_or_after_it_moved(
    fleets: tuple[Deployment, Deployment], moved: str
) -> None:
    """Proves that it counts where the order was published, not where its source once was or is by now."""
    first, second = fleets
    shared, own = second.results, first.results
    places = (shared, own) if moved == "away from here" else (own, shared)
    orders = ("x", "o1") if moved == "away from here" else ("o1", "x")
    for place, order_id in zip(places, orders, strict=True):
        first.results = place
        first.submit([small_order(order_id)])
        with running(first, repair_window_s=0):
            eventually(first.all_settled)

    second.submit([small_order("o1")])
    with running(second) as made:
        eventually(second.all_settled)

    assert made.worker.tally.duplicate == 0
    assert reasons(second) == [b"conflict"]
    assert "o1" not in result_ids(second)


def test_audit_misses_the_letter_of_an_order_whose_source_publishes_elsewhere(
    fleets: tuple[Deployment, Deployment],
) -> None:
    """Proves that it is no duplicate to an audit either: acked without a result here, it needs its letter."""
    for fleet in fleets:
        fleet.submit([small_order("o1")])
        with running(fleet):
            eventually(fleet.all_settled)
    _, second = fleets
    ((letter_id, _),) = second.entries(second.dead_letters)
    assert audit(second) == (0, [])
    second.redis.xdel(second.dead_letters, letter_id)

    code, findings = audit(second)

    assert code == 1
    assert [each["order_id"] for each in findings] == ["o1"]


def test_order_that_has_a_row_without_a_source_is_a_conflict_when_there_are_other_sources(
    fleets: tuple[Deployment, Deployment],
) -> None:
    """Proves that nobody acks a duplicate of what may have its result on another stream."""
    first, second = fleets
    first.submit([small_order("o1")])
    with running(first):
        eventually(first.all_settled)
    as_the_version_before_left_it(first)
    with running(first):
        first.submit([small_order("a2")])
        eventually(first.all_settled)

    second.submit([small_order("o1")])
    with running(second) as made:
        eventually(second.all_settled)

    assert (made.worker.tally.duplicate, result_ids(second)) == (0, [])
    assert reasons(second) == [b"conflict"]
    assert b"without a source" in second.letters()[0]["error"]
