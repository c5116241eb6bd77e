"""Retention as it runs: beside a lagging group, under a replica that sleeps longer than anything is kept."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from tests.faults.victim import REACHED
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.inprocess import running
from tests.processes import victim
from worker.consumer import retention

pytestmark = pytest.mark.usefixtures("marks_go_at_once")

LOAD = 6000
SUBMITTED_AT_ONCE = 200


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "EVERY_S", 0.05)


class Laggard:
    """A second group on the orders stream, always behind, that notes what it has read."""

    def __init__(self, deployment: Deployment) -> None:
        self.read: list[str] = []
        self.may_catch_up = Event()
        self._deployment = deployment
        self._over = Event()
        deployment.redis.xgroup_create(deployment.orders, "laggard", "0", mkstream=True)

    @contextmanager
    def reading(self) -> Iterator[None]:
        thread = Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _run(self) -> None:
        client, orders = self._deployment.redis, self._deployment.orders
        while not self._over.wait(0.02 if self.may_catch_up.is_set() else 0.2):
            reply: Any = client.xreadgroup("laggard", "one", {orders: ">"}, count=SUBMITTED_AT_ONCE // 2)
            taken = [entry_id for entry_id, _ in reply[0][1]] if reply else []
            self.read += [entry_id.decode() for entry_id in taken]
            if taken:
                client.xack(orders, "laggard", *taken)


def marks(deployment: Deployment) -> int:
    return int(deployment.redis.zcount(deployment.marks, "-inf", "(+inf"))


def settled_by_us(deployment: Deployment) -> bool:
    groups = {group["name"]: group for group in deployment.redis.xinfo_groups(deployment.orders)}
    last = deployment.redis.xinfo_stream(deployment.orders)["last-generated-id"]
    ours = groups[deployment.group.encode()]
    return bool(ours["last-delivered-id"] == last) and ours["pending"] == 0


def test_nothing_is_lost_doubled_or_trimmed_too_early_beside_a_group_that_lags(
    deployment: Deployment,
) -> None:
    orders = numbered_orders(LOAD)
    laggard = Laggard(deployment)

    with ExitStack() as stack:
        stack.enter_context(laggard.reading())
        replicas = [
            stack.enter_context(running(deployment, orders_keep_s=1, results_maxlen=0, batch_size=100))
            for _ in range(3)
        ]
        for first in range(0, LOAD, SUBMITTED_AT_ONCE):
            deployment.submit(orders[first : first + SUBMITTED_AT_ONCE])
        eventually(lambda: settled_by_us(deployment), within=60)
        behind = LOAD - len(laggard.read)
        eventually(lambda: deployment.redis.xlen(deployment.orders) <= LOAD - SUBMITTED_AT_ONCE, within=20)
        kept_for_it = deployment.redis.xlen(deployment.orders)
        laggard.may_catch_up.set()
        eventually(lambda: len(laggard.read) >= LOAD, within=60)
        eventually(lambda: deployment.redis.xlen(deployment.orders) == 1)
        # The marks of the last millisecond stay, and the horizon.
        eventually(lambda: marks(deployment) <= SUBMITTED_AT_ONCE + 1)

    assert behind > 0
    assert kept_for_it > 0
    assert laggard.read == deployment.accepted, "trimmed before the second group had read it"
    deployment.redis.xgroup_destroy(deployment.orders, "laggard")
    assert len(deployment.published()) == LOAD
    assert_invariants(deployment, *(made.worker.tally for made in replicas))


def test_replica_that_slept_longer_than_the_marks_were_kept_publishes_nothing_again(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.submit(numbered_orders(40))

    with victim(deployment, tmp_path, "settle sent, never arrived", "stop", batch_size=16) as sleeping:
        eventually(lambda: REACHED in sleeping.said)
        eventually(sleeping.is_stopped)
        with running(deployment, orders_keep_s=1) as made:
            eventually(deployment.all_settled)
            deployment.submit(numbered_orders(41)[40:])
            eventually(lambda: deployment.redis.xlen(deployment.orders) == 1)
            eventually(lambda: marks(deployment) == len({"the last order"}))
        sleeping.signal(signal.SIGCONT)
        assert sleeping.drain() == 0

    assert len(deployment.published()) == 41
    assert_invariants(deployment, made.worker.tally)
