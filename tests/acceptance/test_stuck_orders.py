"""`worker pending` and `worker replay` as the person on call runs them, on entries that are really stuck."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_commands import worker
from tests.commands import environment_of
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.processes import ROOT, assert_quiet, said_to_nobody, victim, workers
from worker.domain.deliveries import FIRST_COUNT

LONG_LEASE: dict[str, Any] = {"lease_ms": 600_000}
# What a replica reads first, and a slow one does not come to the end of.
IN_HAND = FIRST_COUNT


def stuck(deployment: Deployment, count: int, *, consumer: str = "gone") -> list[str]:
    """A consumer takes entries just now, and is never seen again: they are its own for ten minutes."""
    ids = deployment.submit(numbered_orders(count))
    if not deployment.redis.xinfo_groups(deployment.orders):
        deployment.redis.xgroup_create(deployment.orders, deployment.group, "0")
    deployment.redis.xreadgroup(deployment.group, consumer, {deployment.orders: ">"}, count=count)
    return ids


def pending(deployment: Deployment) -> dict[str, tuple[str, int]]:
    found: Any = deployment.redis.xpending_range(deployment.orders, deployment.group, "-", "+", 10_000)
    return {
        each["message_id"].decode(): (each["consumer"].decode(), each["times_delivered"]) for each in found
    }


def test_stuck_entries_are_executed_once_after_a_replay(deployment: Deployment, tmp_path: Path) -> None:
    stuck(deployment, 700)
    before = pending(deployment)
    with workers(deployment, tmp_path, 1, **LONG_LEASE) as (waiting,):
        assert waiting.drain() == 0
    assert pending(deployment) == before

    done = worker(deployment, "replay", "--consumer", "gone", "--yes", **LONG_LEASE)
    after = pending(deployment)
    with workers(deployment, tmp_path, 1, **LONG_LEASE) as (fresh,):
        eventually(deployment.all_settled)
        assert fresh.drain() == 0

    assert done.returncode == 0, done.stderr
    assert "made 700 entries claimable; 0 were so already" in done.stdout
    assert after == before
    assert len(deployment.published()) == 700
    assert_invariants(deployment, waiting.tally, fresh.tally)


def test_nothing_is_doubled_when_the_owner_of_replayed_entries_is_alive(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.submit(numbered_orders(IN_HAND))
    slow: dict[str, Any] = {
        "paper_latency_ms": 400,
        "lease_ms": 4000,
        "transaction_timeout_s": 3,
        "execute_timeout_s": 3,
    }

    with workers(deployment, tmp_path, 1, **slow) as (owner,):
        eventually(lambda: deployment.pending() == IN_HAND)
        done = worker(deployment, "replay", "--all", "--idle", "0", "--yes", "--json", **slow)
        with workers(deployment, tmp_path, 1, **slow) as (other,):
            eventually(deployment.all_settled)
            assert (owner.drain(), other.drain()) == (0, 0)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["made_claimable"] > 0
    assert len(deployment.published()) == IN_HAND
    assert_invariants(deployment, owner.tally, other.tally)


def test_dry_replay_changes_nothing(deployment: Deployment) -> None:
    ids = stuck(deployment, 30)

    done = worker(deployment, "replay", "--all", "--idle", "0", "--dry-run", **LONG_LEASE)
    refused = worker(deployment, "replay", *ids[:3], **LONG_LEASE)
    shown = json.loads(worker(deployment, "pending", "--json", **LONG_LEASE).stdout)

    assert (done.returncode, refused.returncode) == (0, 2)
    assert "30 entries would be made claimable; nothing was changed" in done.stdout
    assert "nothing was changed" in refused.stderr
    assert {each["claimable"] for each in shown["entries"]} == {False}
    assert shown["consumers"] == [{**shown["consumers"][0], "name": "gone", "pending": 30, "gone": False}]


def test_replay_that_was_killed_half_way_is_completed_by_the_next(
    deployment: Deployment, tmp_path: Path
) -> None:
    stuck(deployment, 3000)
    before = pending(deployment)
    first = worker(deployment, "replay", "--all", "--idle", "0", "--limit", "1300", "--yes", **LONG_LEASE)
    cut = subprocess.Popen(
        [sys.executable, "-m", "worker", "replay", "--all", "--idle", "0", "--yes"],
        cwd=ROOT, env=environment_of(deployment, "replay", **LONG_LEASE), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert cut.stdout is not None
    cut.stdout.readline()
    cut.send_signal(signal.SIGINT)
    _, said = cut.communicate(timeout=20)

    rest = json.loads(
        worker(deployment, "replay", "--all", "--idle", "0", "--yes", "--json", **LONG_LEASE).stdout
    )
    again = json.loads(
        worker(deployment, "replay", "--all", "--idle", "0", "--yes", "--json", **LONG_LEASE).stdout
    )

    assert first.returncode == 0
    assert cut.returncode in {0, 130}
    assert b"Traceback" not in said
    assert rest["made_claimable"] + rest["claimable_already"] == 3000
    assert (again["made_claimable"], again["claimable_already"]) == (0, 3000)
    assert pending(deployment) == before
    with workers(deployment, tmp_path, 1, **LONG_LEASE) as (fresh,):
        eventually(deployment.all_settled, within=40)
        assert fresh.drain() == 0
    assert_invariants(deployment, fresh.tally)


@pytest.mark.parametrize(("answer", "code", "made"), [(b"y\n", 0, 5), (b"n\n", 0, 0), (b"\x03", 130, 0)])
def test_replay_asks_at_a_terminal(deployment: Deployment, answer: bytes, code: int, made: int) -> None:
    stuck(deployment, 5)
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "worker", "replay", "--consumer", "gone"],
        cwd=ROOT, env=environment_of(deployment, "replay", **LONG_LEASE), stdin=theirs,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert running.stderr is not None
    asked = b""
    while b"?" not in asked:
        asked += os.read(running.stderr.fileno(), 1000)

    # Asleep: a signal before the read has begun would be noticed only after it.
    eventually(lambda: Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S")
    if answer == b"\x03":
        running.send_signal(signal.SIGINT)
    else:
        os.write(ours, answer)
    out, said = running.communicate(timeout=20)

    os.close(ours)
    os.close(theirs)
    assert b"Traceback" not in said
    assert running.returncode == code
    assert (f"made {made} entries claimable".encode() in out) == (made > 0)


@pytest.mark.parametrize("command", [["pending"], ["pending", "--json"], ["replay", "--all", "--dry-run"]])
def test_command_is_quiet_when_nobody_reads_on(deployment: Deployment, command: list[str]) -> None:
    stuck(deployment, 300)

    said = said_to_nobody(deployment, command)

    assert_quiet(said)


def test_entry_whose_process_was_killed_is_shown_and_replayed(deployment: Deployment, tmp_path: Path) -> None:
    deployment.submit(numbered_orders(20))
    with victim(deployment, tmp_path, "after COMMIT", "kill", **LONG_LEASE) as dead:
        dead.wait()
    shown = json.loads(worker(deployment, "pending", "--json", **LONG_LEASE).stdout)

    done = worker(deployment, "replay", "--consumer", shown["consumers"][0]["name"], "--yes", **LONG_LEASE)
    with workers(deployment, tmp_path, 1, **LONG_LEASE) as (fresh,):
        eventually(deployment.all_settled)
        assert fresh.drain() == 0

    assert done.returncode == 0
    assert len(shown["entries"]) == 20
    assert_invariants(deployment, fresh.tally)
