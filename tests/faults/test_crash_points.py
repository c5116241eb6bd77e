"""A replica is stopped at each point, in every way; another finishes, and nothing is lost or doubled."""

import signal
import time
from pathlib import Path

import pytest

from tests.faults.victim import REACHED
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders, take_and_vanish
from tests.processes import WorkerProcess, victim, workers
from worker.bootstrap import EXIT_STOPPED

CRASH_POINTS = (
    "before read",
    "after read",
    "in claim",
    "after charge",
    "in execute",
    "between the inserts",
    "before COMMIT",
    "after COMMIT",
    "settle sent, never arrived",
    "settle done, reply lost",
    "in drain",
)
LEASE_S = 1
NEEDS_ABANDONED = ("in claim", "after charge")


def submit_everything(deployment: Deployment, point: str) -> None:
    """Good orders, a retry, a conflict and what is no order at all; some abandoned where the point needs it."""
    orders = numbered_orders(60)
    deployment.submit(orders)
    deployment.submit([orders[7], {**orders[8], "quantity": "1"}, {"symbol": "ETHUSDT"}])
    deployment.add_raw("payload", "{")
    if point in NEEDS_ABANDONED:
        take_and_vanish(deployment, 40)


def reach(process: WorkerProcess, point: str) -> None:
    eventually(lambda: f"{REACHED}: {point}" in process.said)


def finish(deployment: Deployment, folder: Path) -> None:
    """Let another replica do what is left, and go."""
    with workers(deployment, folder, 1, batch_size=16) as (rescuer,):
        eventually(deployment.all_settled)
        assert rescuer.drain() == 0
        assert_invariants(deployment, rescuer.tally)


def assert_nothing_lost_or_doubled(deployment: Deployment) -> None:
    assert_invariants(deployment)
    assert len(deployment.published()) == 61
    assert sorted(letter["reason"] for letter in deployment.letters()) == [b"conflict", b"undecodable"]


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_no_order_is_lost_or_doubled_when_a_replica_is_killed(
    deployment: Deployment, tmp_path: Path, point: str
) -> None:
    submit_everything(deployment, point)

    with victim(deployment, tmp_path, point, "kill", batch_size=16) as dying:
        reach(dying, point)
        assert dying.wait() == -signal.SIGKILL
        finish(deployment, tmp_path)

    assert_nothing_lost_or_doubled(deployment)


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_no_order_is_lost_or_doubled_when_a_replica_is_stopped_beyond_its_lease(
    deployment: Deployment, tmp_path: Path, point: str
) -> None:
    submit_everything(deployment, point)

    with victim(deployment, tmp_path, point, "stop", batch_size=16) as sleeping:
        reach(sleeping, point)
        eventually(sleeping.is_stopped)
        asleep_since = time.monotonic()
        finish(deployment, tmp_path)
        eventually(lambda: time.monotonic() - asleep_since > 3 * LEASE_S)
        sleeping.signal(signal.SIGCONT)
        # Stopped while it executed it has outlived its deadline, too, and may leave for that.
        assert sleeping.drain() in ({0, EXIT_STOPPED} if point == "in execute" else {0})

    assert_nothing_lost_or_doubled(deployment)


@pytest.mark.parametrize(
    "point",
    [
        "before read",
        "read done, reply lost",
        "after COMMIT",
        "settle sent, never arrived",
        "settle done, reply lost",
    ],
)
def test_no_order_is_lost_or_doubled_when_an_answer_never_arrives(
    deployment: Deployment, tmp_path: Path, point: str
) -> None:
    submit_everything(deployment, point)

    with victim(deployment, tmp_path, point, "outage", batch_size=16) as deprived:
        reach(deprived, point)
        eventually(deployment.all_settled)
        assert deprived.drain() == 0

    assert_nothing_lost_or_doubled(deployment)
