"""Entries of megabytes before, among and behind small ones, under a container's limit of memory."""

import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.faults.reporting import record
from tests.faults.scale import CHAOS
from tests.faults.supervisor import Supervised
from tests.harness import Deployment, assert_invariants, busyness, eventually, numbered_orders

MEBIBYTE = 1 << 20
LARGE_BYTES = 5_000_000
LARGE, SMALL = (200, 2000) if CHAOS else (120, 1000)
LIMIT = 256 * MEBIBYTE
REPLICAS = 2
# What docs/performance.md says: at rest, and four times what a batch may have.
AT_REST, BATCH_BYTES = 80 * MEBIBYTE, 16 * MEBIBYTE
ORDER_BYTES = 60_000


def large_ones(count: int) -> Iterator[Mapping[str, str]]:
    return ({"note": "x" * LARGE_BYTES, "order_id": f"large-{number}"} for number in range(count))


def scattered() -> Iterator[Mapping[str, str]]:
    """A third of the large ones first, a third among the small ones, and a third behind them."""
    part, small = LARGE // 3, numbered_orders(SMALL)
    large = list(large_ones(LARGE))
    yield from large[:part]
    every = SMALL // part
    for place, order in enumerate(small):
        yield order
        if place % every == every // 2 and place // every < part:
            yield large[part + place // every]
    yield from large[2 * part :]


def wall() -> Iterator[Mapping[str, str]]:
    """All small ones, and right behind them all large ones: what reads have grown to meets these."""
    yield from numbered_orders(SMALL)
    yield from large_ones(LARGE)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("entries", "most_deaths"), [(scattered, 0), (wall, REPLICAS)])
def test_large_entries_are_buried_and_small_ones_executed_within_the_memory_of_a_container(
    deployment: Deployment,
    supervised: Supervised,
    entries: Callable[[], Iterator[Mapping[str, str]]],
    most_deaths: int,
) -> None:
    for entry in entries():
        deployment.submit([entry])
    supervisors = supervised(
        REPLICAS, most_bytes=LIMIT, lease_ms=2000, execute_timeout_s=1, transaction_timeout_s=1.5
    )

    began, within = time.monotonic(), 240
    while not (len(deployment.letters()) == LARGE and deployment.all_settled()):
        assert time.monotonic() - began < within * busyness(), "not settled in time"
        for supervisor in supervisors:
            supervisor.look()
        time.sleep(0.5)

    deaths = sum(supervisor.ended_for_memory for supervisor in supervisors)
    record(
        "memory",
        entries.__name__,
        deaths=deaths,
        largest=max(each.largest for each in supervisors) // MEBIBYTE,
    )
    assert sum(supervisor.starts for supervisor in supervisors) == REPLICAS + deaths
    assert deaths <= most_deaths
    assert {letter["reason"] for letter in deployment.letters()} == {b"too_large"}
    assert len(deployment.published()) == SMALL
    assert_invariants(deployment)


@pytest.mark.timeout(300)
def test_orders_as_large_as_is_allowed_stay_within_what_the_documentation_says(
    deployment: Deployment, supervised: Supervised
) -> None:
    count = 2500
    for order in numbered_orders(count):
        deployment.submit([{**order, "note": "x" * ORDER_BYTES}])
    (supervisor,) = supervised(
        1, most_bytes=AT_REST + 4 * BATCH_BYTES, batch_bytes=BATCH_BYTES, batch_size=10_000
    )
    supervisor.look()

    eventually(lambda: len(deployment.published()) == count and deployment.all_settled(), within=60)

    record("memory", "orders as large as allowed", deaths=0, largest=supervisor.largest // MEBIBYTE)
    assert (supervisor.starts, supervisor.ended_for_memory) == (1, 0)
