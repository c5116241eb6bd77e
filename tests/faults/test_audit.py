"""Audits and repairs after Redis lost all, several at once, killed half-way, beside replicas at full load."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.faults.scale import CHAOS
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders, take_and_vanish
from tests.inprocess import PausingStore, running
from tests.processes import ROOT, workers

COMMITTED = 1000
UNSETTLED = 200
KILLS = 10
# With four replicas, an audit and a producer on two cores everybody waits for a core now and then.
DEFAULT_TIMES: dict[str, Any] = {"lease_ms": 30_000, "transaction_timeout_s": 10}
BESIDE_S = 60 if CHAOS else 15
AUDITS = 2


@contextmanager
def auditing(deployment: Deployment, *arguments: str, **overrides: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "audit", *arguments],
        cwd=ROOT,
        env=deployment.process_environment(**overrides),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def audited(deployment: Deployment, *arguments: str, **overrides: object) -> tuple[int, list[Any], Any]:
    with auditing(deployment, "--json", *arguments, **overrides) as process:
        said, why = process.communicate(timeout=120)
        lines = [json.loads(line) for line in said.splitlines()]
        assert lines, why
        return process.returncode, [line["finding"] for line in lines[:-1]], lines[-1]["summary"]


@pytest.fixture
def flushed(deployment: Deployment) -> Deployment:
    """A thousand rows, two hundred of them never settled; then Redis lost all of it."""
    deployment.submit(numbered_orders(COMMITTED - UNSETTLED))
    with running(deployment):
        eventually(deployment.all_settled)
    deployment.submit(numbered_orders(COMMITTED)[-UNSETTLED:])
    paused: list[PausingStore] = []

    def pausing(inner: Any) -> PausingStore:
        paused.append(PausingStore(inner))
        return paused[0]

    # Leases that last: what is committed and not settled is given back by nobody.
    with running(deployment, wrap_store=pausing, repair_window_s=0, lease_ms=60_000) as made:
        eventually(lambda: paused and paused[0].committed.is_set())
        deployment.redis.delete(*deployment.all_keys())
        made.drain.request()
        made.drain.request()
        paused[0].go_on.set()
    deployment.redis.delete(*deployment.all_keys() or [b"none"])
    assert len(deployment.rows()) == COMMITTED
    return deployment


def one_result_per_row(deployment: Deployment) -> bool:
    published = [result["order_id"] for result in deployment.published()]
    return sorted(published) == sorted(deployment.rows())


def test_every_row_has_one_result_after_redis_lost_everything_and_was_repaired(flushed: Deployment) -> None:
    code, findings, summary = audited(flushed, "--repair")
    clean, left, _ = audited(flushed)

    assert (code, len(findings), summary["mended"]) == (0, COMMITTED, COMMITTED)
    assert {each["invariant"] for each in findings} == {"I4"}
    assert one_result_per_row(flushed)
    assert (clean, left) == (0, [])


def test_three_repairs_at_once_publish_each_result_once(flushed: Deployment) -> None:
    with (
        auditing(flushed, "--repair") as one,
        auditing(flushed, "--repair") as two,
        auditing(flushed, "--repair") as three,
    ):
        for process in (one, two, three):
            process.communicate(timeout=120)

    assert one_result_per_row(flushed)


def test_repair_killed_again_and_again_publishes_each_result_once(flushed: Deployment) -> None:
    stops = []
    for kill in range(KILLS):
        with auditing(flushed, "--repair") as process:
            before = flushed.redis.xlen(flushed.results)
            wanted = before + 1 + (COMMITTED - before) // (2 * (KILLS - kill))

            def far_enough(process: Any = process, wanted: int = wanted) -> bool:
                return flushed.redis.xlen(flushed.results) >= wanted or process.poll() is not None

            eventually(far_enough, within=60)
            process.kill()
            process.wait()
        stops.append(flushed.redis.xlen(flushed.results))

    code, _, _ = audited(flushed, "--repair")

    assert code == 0
    assert stops[0] < COMMITTED, "no repair was killed half-way"
    assert one_result_per_row(flushed)


def test_repair_beside_replicas_that_repair_by_themselves_publishes_each_result_once(
    flushed: Deployment, tmp_path: Path
) -> None:
    with workers(flushed, tmp_path, 2, orders_keep_s=1), auditing(flushed, "--repair") as process:
        flushed.submit({**order, "order_id": f"late-{i}"} for i, order in enumerate(numbered_orders(500)))
        eventually(flushed.all_settled)
        process.communicate(timeout=120)
        eventually(lambda: one_result_per_row(flushed), within=60)


class Load(Thread):
    """Submits orders, as many as the replicas take, for so many seconds."""

    MOST_WAITING = 4000
    AT_ONCE = 2000

    def __init__(self, deployment: Deployment, for_s: float) -> None:
        super().__init__(name="load")
        self._deployment = deployment
        self._ends_at = time.monotonic() + for_s
        self.submitted = 0

    @property
    def goes_on(self) -> bool:
        """Whether more orders will come."""
        return time.monotonic() < self._ends_at

    def run(self) -> None:
        while self.goes_on:
            time.sleep(0.01)  # the load, not a wait
            if self._deployment.redis.xlen(self._deployment.results) > self.submitted - self.MOST_WAITING:
                orders = numbered_orders(self.AT_ONCE)
                self._deployment.submit(
                    {**order, "order_id": f"order-{self.submitted + i}"} for i, order in enumerate(orders)
                )
                self.submitted += len(orders)


@pytest.mark.timeout(600)
def test_audit_beside_four_replicas_at_full_load_finds_nothing(
    deployment: Deployment, tmp_path: Path
) -> None:
    audits: list[tuple[int, Any]] = []
    with workers(deployment, tmp_path, 4, **DEFAULT_TIMES) as replicas:
        load = Load(deployment, BESIDE_S)
        load.start()
        # One may outlast the load.
        while load.goes_on or len(audits) < AUDITS:
            audits.append(audited(deployment, **DEFAULT_TIMES)[:2])
        load.join()
        eventually(deployment.all_settled, within=60)
        assert [replica.drain() for replica in replicas] == [0, 0, 0, 0]

    assert audits == [(0, [])] * len(audits)
    code, findings, summary = audited(deployment)
    assert (code, findings) == (0, [])
    assert summary["seen"]["rows"] == load.submitted
    assert_invariants(deployment, *(replica.tally for replica in replicas))


def test_orders_lost_from_the_table_are_executed_again_without_a_second_result(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.submit(numbered_orders(200))
    with running(deployment):
        eventually(deployment.all_settled)
    before = deployment.published()
    with deployment.database.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM trades")
        connection.exec_driver_sql("DELETE FROM orders")

    _, _, summary = audited(deployment, "--repair")
    with workers(deployment, tmp_path, 1) as (replica,):
        eventually(deployment.all_settled)
        assert replica.drain() == 0
    code, left, _ = audited(deployment)

    assert summary["mended"] == 200
    assert (code, left) == (0, [])
    assert len(deployment.rows()) == 200
    assert deployment.published() == before


def test_half_lost_dead_letters_are_told_from_those_that_are_there(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.submit([{**numbered_orders(1)[0], "client_id": "poison", "order_id": "p"}])
    take_and_vanish(deployment, 1, deliveries=5)
    with workers(deployment, tmp_path, 1) as (replica,):
        eventually(deployment.letters)
        assert replica.drain() == 0
    deployment.redis.delete(deployment.dead_letters, *deployment.mark_keys)

    code, (finding,), _ = audited(deployment, "--repair")

    assert (code, finding["invariant"], finding["remedy"]) == (0, "I2", "bury")
    (letter,) = deployment.letters()
    assert letter["order_id"] == b"p"
    assert letter["orig:client_id"] == b"poison"
