"""Orders that take their process down, or raise, every time: only they are buried."""

import time
from collections import Counter

import pytest

from tests.faults.supervisor import Supervised
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders

MAX_DELIVERIES = 3
LIMITS = {"batch_size": 256, "max_deliveries": MAX_DELIVERIES}


def poisoned(count: int, poisons: int) -> list[dict[str, str]]:
    """Orders with poison spread evenly among them."""
    orders = numbered_orders(count)
    for number in range(poisons):
        orders[(2 * number + 1) * count // (2 * poisons)]["client_id"] = f"poison-{number}"
    return orders


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("count", "poisons", "within"), [(1_000, 1, 90), (10_000, 10, 300)])
def test_order_that_kills_its_process_is_buried_alone(
    deployment: Deployment, supervised: Supervised, count: int, poisons: int, within: float
) -> None:
    deployment.submit(poisoned(count, poisons))
    supervisors = supervised(2, executor="tests.faults.executors:Killing", **LIMITS)

    deadline = time.monotonic() + within
    while not (len(deployment.letters()) == poisons and deployment.all_settled()):
        assert time.monotonic() < deadline, "not settled in time"
        for supervisor in supervisors:
            supervisor.look()
        time.sleep(0.05)
    executions = sum((each.executions() for each in supervisors), Counter[str]())

    assert len(deployment.published()) == count - poisons
    assert {letter["reason"] for letter in deployment.letters()} == {b"poison"}
    assert len(executions) == poisons
    assert max(executions.values()) <= MAX_DELIVERIES
    assert_invariants(deployment)


def test_order_whose_execution_raises_is_buried_as_failed_and_its_neighbours_are_executed(
    deployment: Deployment, supervised: Supervised
) -> None:
    deployment.submit(poisoned(100, 2))
    (supervisor,) = supervised(1, executor="tests.faults.executors:Raising", **LIMITS)
    supervisor.look()

    eventually(lambda: len(deployment.letters()) == 2 and deployment.all_settled(), within=40)

    assert supervisor.drain() == 0
    assert supervisor.starts == 1
    assert {letter["reason"] for letter in deployment.letters()} == {b"failed"}
    assert set(supervisor.executions().values()) == {MAX_DELIVERIES}
    assert len(deployment.published()) == 98
    assert_invariants(deployment)
