"""What is done to a worker process from outside, or missing around it: the real command, its exit codes."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest

from local.directory import free_port
from tests.faults.environment.site import Site
from tests.faults.environment.trial import recovering
from tests.harness import assert_invariants, eventually, numbered_orders
from tests.migrating import DROP_ALL
from tests.processes import COMMAND, ROOT, WorkerProcess, heard, workers

ORDERS = 200
LEASE_S = 1.0
# The lease, the scan, and the start of another process on two busy cores.
TAKEN_OVER_WITHIN_S = 15.0
MIGRATES_AND_RUNS = """
from worker.cli import main
main(["migrate"], standalone_mode=False)
main(["run"])
"""
NOBODY_READS = """
import os, sys
reader, writer = os.pipe()
os.close(reader)
os.dup2(writer, 1)
os.dup2(writer, 2)
os.execv(sys.executable, [sys.executable, "-m", "worker", "run"])
"""
RENEWS_NOT = """
from worker.consumer.lease import Lease
Lease._run = lambda self: None
from worker.cli import main
main(["run"])
"""


@contextmanager
def process(site: Site, command: Sequence[str] = COMMAND, **overrides: object) -> Iterator[WorkerProcess]:
    made = WorkerProcess(site.workers, site.folder / "worker.log", command, **overrides)
    try:
        yield made
    finally:
        made.end()


def pid(made: WorkerProcess) -> int:
    return int(json.loads(made.get("/status")[1])["consumer"].split("-")[-2])


def shell(line: str) -> tuple[str, ...]:
    """Run the worker as a shell line starts it; $WORKER stands for the command."""
    return ("/bin/sh", "-c", line.replace("$WORKER", '"$0" -m worker'), sys.executable)


def assert_whole(site: Site, orders: int = ORDERS) -> None:
    assert_invariants(site.deployment)
    assert len(site.deployment.rows()) == len(site.deployment.published()) == orders
    assert site.deployment.letters() == []


def test_process_without_a_free_descriptor_waits_until_there_is_one(site: Site) -> None:
    with workers(site.workers, site.folder, 1) as (replica,):
        eventually(lambda: replica.get("/ready")[0] == 200)
        process_id = pid(replica)
        before = resource.prlimit(process_id, resource.RLIMIT_NOFILE)
        resource.prlimit(process_id, resource.RLIMIT_NOFILE, (3, before[1]))
        site.cut_redis()
        site.end_sessions()
        site.deployment.submit(numbered_orders(ORDERS))
        eventually(lambda: "Too many open files" in replica.said)
        resource.prlimit(process_id, resource.RLIMIT_NOFILE, before)
        with recovering("process: no descriptor left") as until:
            until(site.deployment.all_settled)
        eventually(lambda: replica.get("/ready")[0] == 200)
        assert replica.drain() == 0

    assert_invariants(site.deployment, replica.tally)
    assert_whole(site)


@pytest.mark.parametrize(
    ("row", "command"),
    [
        ("process: output full", shell("exec $WORKER run >/dev/full 2>/dev/full")),
        ("process: output closed", shell("exec $WORKER run >&- 2>&-")),
        ("process: nobody reads its output", (sys.executable, "-c", NOBODY_READS)),
        ("process: no TMPDIR, no HOME", shell("unset HOME; TMPDIR=/nowhere exec $WORKER run")),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_orders_are_executed_however_the_process_was_started(
    site: Site, row: str, command: tuple[str, ...]
) -> None:
    site.deployment.submit(numbered_orders(ORDERS))

    with process(site, command) as replica, recovering(row) as until:
        until(site.deployment.all_settled)
        assert replica.drain() == 0

    assert_whole(site)


@pytest.fixture
def hang_ups_are_heard() -> Iterator[None]:
    """Have this process, and what it starts, die of SIGHUP even where the tests were started with nohup."""
    with heard(signal.SIGHUP):
        yield


def test_orders_are_executed_while_somebody_keeps_its_output_and_reads_nothing(site: Site) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"-" * 512)
    os.set_blocking(writing, True)
    environment = site.workers.process_environment(health_port=free_port())
    site.deployment.submit(numbered_orders(ORDERS))

    with subprocess.Popen(COMMAND, cwd=ROOT, env=environment, stdout=writing, stderr=writing) as replica:
        try:
            with recovering("process: nobody empties its output", within=TAKEN_OVER_WITHIN_S) as until:
                until(site.deployment.all_settled)
            replica.terminate()
            assert replica.wait(timeout=20) == 0
        finally:
            replica.kill()
            os.close(reading)
            os.close(writing)

    assert_whole(site)


@pytest.mark.usefixtures("hang_ups_are_heard")
def test_others_take_over_from_a_process_that_was_hung_up_on(site: Site) -> None:
    site.deployment.submit(numbered_orders(ORDERS))
    with workers(site.workers, site.folder, 1, batch_size=10, paper_latency_ms=10) as (replica,):
        eventually(site.deployment.published)
        replica.signal(signal.SIGHUP)
        assert replica.wait() == -signal.SIGHUP

    with (
        recovering("process: SIGHUP", within=TAKEN_OVER_WITHIN_S) as until,
        workers(site.workers, site.folder, 1) as (another,),
    ):
        until(site.deployment.all_settled)
        assert another.drain() == 0
    assert_whole(site)


def test_process_whose_renewal_thread_has_died_leaves_and_others_take_over(site: Site) -> None:
    site.deployment.submit(numbered_orders(ORDERS))
    with process(site, (sys.executable, "-c", RENEWS_NOT)) as replica:
        assert replica.wait() == 70
    assert "lease renewal thread has ended" in replica.said
    assert "Traceback" not in replica.said

    with (
        recovering("process: renewal thread dead", within=TAKEN_OVER_WITHIN_S) as until,
        workers(site.workers, site.folder, 1) as (another,),
    ):
        until(site.deployment.all_settled)
        assert another.drain() == 0
    assert_whole(site)


def test_process_goes_on_when_it_was_suspended_for_longer_than_its_lease(site: Site) -> None:
    with workers(site.workers, site.folder, 1) as (replica,):
        replica.signal(signal.SIGSTOP)
        eventually(replica.is_stopped)
        site.deployment.submit(numbered_orders(ORDERS))
        replica.signal(signal.SIGCONT)
        with recovering("process: SIGSTOP and SIGCONT") as until:
            until(site.deployment.all_settled)
        assert replica.drain() == 0

    assert_invariants(site.deployment, replica.tally)
    assert_whole(site)


@pytest.mark.timeout(180)
def test_eight_replicas_that_migrate_and_start_at_once_on_nothing_share_the_work(site: Site) -> None:
    site.sql(
        DROP_ALL,
        f"GRANT CREATE, USAGE ON SCHEMA public TO {site.name}",
    )
    site.deployment.submit(numbered_orders(ORDERS))
    command = (sys.executable, "-c", MIGRATES_AND_RUNS)
    with recovering("process: eight start at once on nothing", within=60) as until:
        replicas = [
            WorkerProcess(site.workers, site.folder / f"{n}.log", command, batch_size=10) for n in range(8)
        ]
        try:
            until(site.deployment.all_settled)
            eventually(lambda: all("worker started" in replica.said for replica in replicas), within=60)
            assert [replica.drain() for replica in replicas] == [0] * 8
        finally:
            for replica in replicas:
                replica.end()

    assert not any("Traceback" in replica.said for replica in replicas)
    assert sum('"group made"' in replica.said for replica in replicas) == 1
    assert_invariants(site.deployment, *(replica.tally for replica in replicas))
    assert_whole(site)
