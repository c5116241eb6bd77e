"""`worker status` as the person on call runs it: beside replicas, amid outages, watching, on a terminal."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from local import LocalPostgres, LocalRedis
from local.directory import free_port
from tests.acceptance.test_commands import worker
from tests.commands import environment_of
from tests.harness import Deployment, eventually, numbered_orders, take_and_vanish
from tests.processes import ROOT, assert_quiet, said_to_nobody, workers

PAGE = ROOT / "docs" / "runbook" / "status.md"
# Those on the page that do not end by themselves are ended as a person would.
ENDLESS = ("worker status --watch", "worker run")


@contextmanager
def watching(
    deployment: Deployment, *arguments: str, stdout: int = subprocess.PIPE
) -> Iterator[tuple[subprocess.Popen[bytes], list[str]]]:
    """Run the command until the block ends, and collect its lines."""
    running = subprocess.Popen(
        [sys.executable, "-m", "worker", "status", "--watch", "0.2", *arguments],
        cwd=ROOT, env=environment_of(deployment, "status"), stdout=stdout, stderr=subprocess.PIPE,
    )  # fmt: skip
    lines: list[str] = []

    def collect() -> None:
        assert running.stdout is not None
        lines.extend(line.decode().rstrip("\n") for line in running.stdout)

    collector = Thread(target=collect)
    if running.stdout is not None:
        collector.start()
    try:
        yield running, lines
    finally:
        if running.poll() is None:
            running.kill()
        running.wait(timeout=20)
        if running.stdout is not None:
            collector.join(timeout=20)
            running.stdout.close()
        assert running.stderr is not None
        running.stderr.close()


def test_replica_at_work_is_well(deployment: Deployment, tmp_path: Path) -> None:
    deployment.submit(numbered_orders(50))

    with workers(deployment, tmp_path, 1) as (replica,):
        eventually(deployment.all_settled)
        # Before 7.2 Redis does not hear of a consumer that waits; by a long lease it is alive nevertheless.
        shown = worker(deployment, "status", lease_ms=600_000)
        assert replica.drain() == 0

    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines()[0] == "All well: nothing is waiting, 1 replica alive."
    assert "50 orders, " in shown.stdout


def test_server_that_is_away_is_named_and_the_other_shown(
    own_deployment: Deployment, own_redis: LocalRedis, own_postgres: LocalPostgres
) -> None:
    own_deployment.submit(numbered_orders(3))

    own_postgres.stop()
    without_database = worker(own_deployment, "status")
    own_redis.stop()
    without_both = worker(own_deployment, "status", "--json")
    own_postgres.start()
    without_redis = worker(own_deployment, "status")

    assert without_database.returncode == without_both.returncode == without_redis.returncode == 3
    first, _, also, *_ = without_database.stdout.splitlines()
    assert first.startswith("Needs you: PostgreSQL does not answer: ")
    assert also.startswith("also           Group execution is missing, nobody reads 3 entries")
    conditions = json.loads(without_both.stdout)["verdict"]["conditions"]
    assert [each["name"] for each in conditions] == ["unreachable", "unreachable"]
    assert without_redis.stdout.startswith("Needs you: Redis does not answer: ")
    assert "in all         0 orders, 0 trades" in without_redis.stdout
    for shown in (without_database, without_both, without_redis):
        assert "Traceback" not in shown.stderr


def test_watching_outlives_an_outage_and_ends_when_it_is_interrupted(
    own_deployment: Deployment, own_postgres: LocalPostgres
) -> None:
    with watching(own_deployment) as (running, lines):
        eventually(lambda: any(line.startswith("All well") for line in lines))
        own_postgres.stop()
        eventually(lambda: any(line.startswith("Needs you: PostgreSQL does not answer") for line in lines))
        own_postgres.start()
        seen = len(lines)
        eventually(lambda: any(line.startswith("All well") for line in lines[seen:]))

        running.send_signal(signal.SIGINT)
        code = running.wait(timeout=20)
        assert running.stderr is not None
        said = running.stderr.read()

    assert (code, said) == (130, b"")


def test_watching_as_json_is_an_object_in_each_line(deployment: Deployment) -> None:
    with watching(deployment, "--json") as (running, lines):
        eventually(lambda: len(lines) > 2)
        running.send_signal(signal.SIGINT)
        code = running.wait(timeout=20)

    assert code == 130
    assert {json.loads(line)["verdict"]["needs_person"] for line in lines} == {False}


def test_watching_at_a_terminal_redraws_in_place_and_gives_the_cursor_back(deployment: Deployment) -> None:
    take = deployment.submit(numbered_orders(2))
    take_and_vanish(deployment, 2, consumer="\x1b[2J[red]")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    drawn = b""

    with watching(deployment, stdout=theirs) as (running, _):
        while drawn.count(b"Ctrl-C ends") < 3:
            drawn += os.read(ours, 65_536)
        running.send_signal(signal.SIGINT)
        code = running.wait(timeout=20)
        os.set_blocking(ours, False)
        drawn += os.read(ours, 65_536)

    os.close(ours)
    os.close(theirs)
    assert len(take) == 2
    assert code == 130
    # Up a line: in place. The name of a consumer neither clears the screen nor is markup.
    assert b"\x1b[1A" in drawn
    assert b"\x1b[2J" not in drawn
    assert b"\\x1b[2J[red]" in drawn
    assert drawn.rindex(b"\x1b[?25h") > drawn.rindex(b"\x1b[?25l")


@pytest.mark.parametrize("arguments", [["status", "--watch", "0.1"], ["status", "--watch", "0.1", "--json"]])
def test_watching_ends_quietly_when_nobody_reads_on(deployment: Deployment, arguments: list[str]) -> None:
    assert_quiet(said_to_nobody(deployment, arguments))


def commands_of(page: str) -> list[str]:
    """What stands behind a prompt, and in the column of what to do."""
    return sorted(
        {each.strip() for each in re.findall(r"^\$ (worker [^|\n]+)", page, re.MULTILINE)}
        | set(re.findall(r"`(worker [a-z][^`]*)`", page))
    )


def fill_in(command: str, deployment: Deployment) -> str:
    """Put what really is in the place of what stands for it."""
    letter = deployment.entries(deployment.dead_letters)[0][0]
    held = deployment.accepted[0]
    return command.replace("LETTER", letter).replace("ID", held).replace("NAME", "gone")


@pytest.mark.parametrize("command", commands_of(PAGE.read_text(encoding="utf-8")))
def test_command_of_the_runbook_does_what_the_page_says(deployment: Deployment, command: str) -> None:
    deployment.submit(numbered_orders(3))
    take_and_vanish(deployment, 3)
    deployment.redis.xadd(deployment.dead_letters, {"entry_id": "1-0", "reason": "conflict"})
    program, *arguments = fill_in(command, deployment).split()
    environment = environment_of(deployment, *arguments, health_port=free_port())
    running = subprocess.Popen(
        [sys.executable, "-m", program, *arguments],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip

    try:
        if command.startswith(ENDLESS):
            assert running.stdout is not None
            running.stdout.readline()
            running.send_signal(signal.SIGINT)
        out, said = running.communicate(timeout=40)
    finally:
        if running.poll() is None:
            running.kill()
            running.communicate()

    assert "Traceback" not in out + said
    assert running.returncode in ({0, 130} if command.startswith(ENDLESS) else {0, 1}), said


def test_page_shows_the_lines_that_the_command_prints_and_every_condition(deployment: Deployment) -> None:
    page = PAGE.read_text(encoding="utf-8")
    shown = worker(deployment, "status")

    blocks = re.findall(r"^\$ worker status[^\n]*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    labels = {line[:15].strip() for block in blocks for line in block.splitlines() if line[14:15] == " "}
    printed = {line[:15].strip() for line in shown.stdout.splitlines()[2:]}

    assert len(blocks) > 5
    assert printed <= labels
    assert set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE)) == {
        "unreachable", "misconfigured", "refused", "schema_behind", "schema_obstructed", "rows_hidden",
        "writes_refused", "eviction", "group_missing",
        "nobody_works", "rows_not_stored", "standstill", "lost_rows", "lost_unread", "unknown_results",
        "shared_source", "set_aside", "stuck",
        "dead_letters", "submitted", "volatile", "repair_running", "backlog", "well",
    }  # fmt: skip
