"""Orders that take their process down, or raise, every time: only they are buried."""

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.faults.executors import NOTES
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.processes import COMMAND, ROOT
from worker.local.directory import free_port

MAX_DELIVERIES = 3


class Supervisor:
    """Starts a replica again whenever it ends."""

    def __init__(self, deployment: Deployment, folder: Path, executor: str) -> None:
        self._folder = folder
        self.notes = folder / "executions"
        self.notes.touch()
        self._environment = deployment.process_environment(
            executor=f"tests.faults.executors:{executor}", batch_size=256, max_deliveries=MAX_DELIVERIES,
            health_port=free_port(),
        ) | {NOTES: str(self.notes)}  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def look(self) -> None:
        """Start the replica where it does not run."""
        if self._process is None or self._process.poll() is not None:
            self.starts += 1
            with (self._folder / f"{self.starts}.log").open("wb") as log:
                self._process = subprocess.Popen(
                    COMMAND, cwd=ROOT, env=self._environment, stdout=log, stderr=log
                )

    def drain(self) -> int:
        """Ask it to leave, and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=20)

    def end(self) -> None:
        """Kill it where it still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def executions(self) -> Counter[str]:
        """How often each poison order was executed."""
        return Counter(self.notes.read_text(encoding="utf-8").split())


Supervised: TypeAlias = Callable[[Deployment, Path, str, int], list[Supervisor]]


@pytest.fixture
def supervised() -> Iterator[Supervised]:
    """Makes supervisors of an executor, and ends what they started."""
    made: list[Supervisor] = []

    def make(deployment: Deployment, folder: Path, executor: str, count: int) -> list[Supervisor]:
        for number in range(count):
            own = folder / f"replica-{number}"
            own.mkdir()
            made.append(Supervisor(deployment, own, executor))
        return made

    yield make
    for supervisor in made:
        supervisor.end()


def poisoned(count: int, poisons: int) -> list[dict[str, str]]:
    """Orders with poison spread evenly among them."""
    orders = numbered_orders(count)
    for number in range(poisons):
        orders[(2 * number + 1) * count // (2 * poisons)]["client_id"] = f"poison-{number}"
    return orders


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("count", "poisons", "within"), [(1_000, 1, 90), (10_000, 10, 300)])
def test_order_that_kills_its_process_is_buried_alone(
    deployment: Deployment, supervised: Supervised, tmp_path: Path, count: int, poisons: int, within: float
) -> None:
    deployment.submit(poisoned(count, poisons))
    supervisors = supervised(deployment, tmp_path, "Killing", 2)

    deadline = time.monotonic() + within
    while not (len(deployment.letters()) == poisons and deployment.all_settled()):
        assert time.monotonic() < deadline, "not settled in time"
        for supervisor in supervisors:
            supervisor.look()
        time.sleep(0.05)
    executions = supervisors[0].executions() + supervisors[1].executions()

    assert len(deployment.published()) == count - poisons
    assert {letter["reason"] for letter in deployment.letters()} == {b"poison"}
    assert len(executions) == poisons
    assert max(executions.values()) <= MAX_DELIVERIES
    assert_invariants(deployment)


def test_order_whose_execution_raises_is_buried_as_failed_and_its_neighbours_are_executed(
    deployment: Deployment, supervised: Supervised, tmp_path: Path
) -> None:
    deployment.submit(poisoned(100, 2))
    (supervisor,) = supervised(deployment, tmp_path, "Raising", 1)
    supervisor.look()

    eventually(lambda: len(deployment.letters()) == 2 and deployment.all_settled(), within=40)

    assert supervisor.drain() == 0
    assert supervisor.starts == 1
    assert {letter["reason"] for letter in deployment.letters()} == {b"failed"}
    assert set(supervisor.executions().values()) == {MAX_DELIVERIES}
    assert len(deployment.published()) == 98
    assert_invariants(deployment)
