"""Replicas die and sleep at every step of an order to a venue: the venue executes each order once."""

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from local.directory import free_port
from tests.faults import victim
from tests.harness import Deployment, assert_invariants, numbered_orders
from tests.venue import Venue, venue
from worker.domain.orders import Status

ORDERS = 500
REPLICAS = 3
POINTS = (
    "after intent",
    "in execute",
    "after send",
    "after answer",
    "after outcome",
    "settle done, reply lost",
)
# How often a point is passed for each group of orders; the others, for each order.
ONCE_A_GROUP = {"after intent", "after outcome", "settle done, reply lost"}
LEASE_S = 1.0
# Long enough for another replica to have claimed the order, asked for it and sent it.
ASLEEP_S = 2.5 * LEASE_S
BATCH = 8
TREATMENTS = {20: "reject", 25: "partial", 40: "drop", 45: "slow", 50: "refuse"}
Plan = list[tuple[str, str, int]]


def treated_orders() -> list[dict[str, str]]:
    orders = numbered_orders(ORDERS)
    for number, order in enumerate(orders, start=1):
        how = next((name for every, name in TREATMENTS.items() if number % every == 0), "fill")
        order["client_id"] = f"{how}-{number}"
    return orders


def plan(*, kills: int, stops: int) -> Plan:
    """Every point in turn; which order of a group is hit is drawn, the same in every run."""
    chance = random.Random(20)  # noqa: S311  no secret
    faults = [(POINTS[number % len(POINTS)], "kill") for number in range(kills)]
    # Half of the sleepers hold an order that they are just about to send: no check of ours stands between.
    faults += [
        (POINTS[number % len(POINTS)] if number % 2 else "in execute", "stop") for number in range(stops)
    ]
    chance.shuffle(faults)
    return [
        (point, way, 1 if point in ONCE_A_GROUP else chance.randint(1, BATCH // 2)) for point, way in faults
    ]


class Slot:
    """One place for a replica: as long as there are faults to suffer, the next one follows the last."""

    def __init__(self, environment: Callable[[], dict[str, str]], log: Path, faults: Plan) -> None:
        self._environment = environment
        self._log = log
        self._faults = faults
        self._process: ForkServerProcess | None = None
        self._asleep_since: float | None = None
        self._way = ""
        self.suffered: list[str] = []

    def look(self) -> None:
        """Start the next replica where the last has ended; wake up who has slept beyond the lease."""
        if self._process is None or not self._process.is_alive():
            if self._process is not None and self._process.exitcode == -signal.SIGKILL:
                self.suffered.append("kill")
            self._start()
        elif self._way == "stop" and self._is_stopped():
            now = time.monotonic()
            self._asleep_since = self._asleep_since or now
            if now - self._asleep_since > ASLEEP_S:
                self._signal(signal.SIGCONT)
                # It goes on where it was, with the order that others have taken over by now, and then leaves.
                self._signal(signal.SIGTERM)
                self._asleep_since, self._way = None, ""
                self.suffered.append("stop")

    def end(self) -> None:
        """Kill what still runs."""
        if self._process is not None and self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _start(self) -> None:
        point, self._way, turn = self._faults.pop(0) if self._faults else ("nowhere", "", 1)
        arguments = (point, self._way, turn, self._environment(), str(self._log))
        # Forked from a server that has imported everything: a start takes a tenth of the time.
        self._process = get_context("forkserver").Process(target=run_victim, args=arguments)
        self._process.start()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def _is_stopped(self) -> bool:
        assert self._process is not None
        stat = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        return stat.rpartition(")")[2].split()[0] == "T"


def run_victim(point: str, way: str, turn: int, environment: dict[str, str], log: str) -> None:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, sys.stdout.fileno())
    os.dup2(out, sys.stderr.fileno())
    victim.main(point, way, turn, environment=environment)


@contextmanager
def slots(deployment: Deployment, folder: Path, at: Venue, faults: Plan) -> Iterator[list[Slot]]:
    get_context("forkserver").set_forkserver_preload(["tests.faults.victim"])

    def environment() -> dict[str, str]:
        return deployment.process_environment(
            executor="venue", venue_url=at.url, health_port=free_port(), batch_size=BATCH,
            lease_ms=int(LEASE_S * 1000), execute_timeout_s=0.9, transaction_timeout_s=0.9,
            # They die of other causes than their orders here.
            max_deliveries=1000,
        )  # fmt: skip

    made = [Slot(environment, folder / f"slot-{number}.log", faults) for number in range(REPLICAS)]
    try:
        yield made
    finally:
        for slot in made:
            slot.end()


def suffer(deployment: Deployment, folder: Path, at: Venue, faults: Plan) -> Counter[str]:
    """Work everything through while the faults happen; return how many of each there were."""
    deployment.submit(treated_orders())
    with slots(deployment, folder, at, faults) as places:
        deadline = time.monotonic() + 300
        while faults or not deployment.all_settled():
            assert time.monotonic() < deadline, f"not settled in time, {len(faults)} faults left"
            for place in places:
                place.look()
            time.sleep(0.01)
        return sum((Counter(place.suffered) for place in places), Counter[str]())


def assert_each_order_has_its_outcome(deployment: Deployment) -> None:
    rows = deployment.rows()
    assert len(rows) == ORDERS
    assert Counter(row.status for row in rows.values()) == {Status.FILLED: 475, Status.REJECTED: 25}
    assert len(deployment.published()) == ORDERS
    assert deployment.letters() == []
    assert_invariants(deployment)


@pytest.mark.timeout(340)
def test_venue_that_honours_no_key_executes_each_order_once_when_replicas_are_killed_at_every_step(
    deployment: Deployment, tmp_path: Path
) -> None:
    with venue(tmp_path, deduplicating=False) as at:
        suffered = suffer(deployment, tmp_path, at, plan(kills=36, stops=0))

        assert suffered["kill"] >= 33, "the last replicas may have had nothing left to die of"
        assert at.book == Counter(f"order-{number}" for number in range(ORDERS))
    assert_each_order_has_its_outcome(deployment)


@pytest.mark.timeout(340)
def test_venue_that_honours_keys_executes_each_order_once_when_replicas_also_sleep_beyond_their_lease(
    deployment: Deployment, tmp_path: Path
) -> None:
    with venue(tmp_path, deduplicating=True) as at:
        suffered = suffer(deployment, tmp_path, at, plan(kills=30, stops=10))

        assert suffered["stop"] >= 8
        assert at.book == Counter(f"order-{number}" for number in range(ORDERS))
    assert_each_order_has_its_outcome(deployment)
