"""Commands whose standard streams are closed, full or not read never end in a traceback.

They end in a line and a code, or do their work without a word.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from local.directory import free_port
from tests.accounts import users
from tests.commands import environment_of
from tests.harness import Deployment, eventually, numbered_orders
from tests.processes import ROOT, WorkerProcess

UNWRITABLE = 74
# Begins with a SIGINT that is ignored, in the foreground of the terminal that is its standard input.
IN_THE_FOREGROUND = """
import os, signal, sys
os.setsid()
os.open(os.ttyname(0), os.O_RDWR)
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, "-m", "worker", *sys.argv[1:]])
"""


def shell(deployment: Deployment, line: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a line in which $WORKER stands for the command."""
    return subprocess.run(
        ["/bin/sh", "-c", line.replace("$WORKER", '"$0" -m worker'), sys.executable],
        cwd=ROOT, env=environment_of(deployment, *line.split()[1:]) | more, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["status", "status --json", "migrate", "dead list --json", "--help"])
def test_command_whose_output_is_full_says_so_in_one_line(deployment: Deployment, command: str) -> None:
    done = shell(deployment, f"$WORKER {command} >/dev/full")

    assert (done.returncode, done.stderr) == (
        UNWRITABLE,
        "worker: output can't be written: No space left on device\n",
    )


def documents(text: str) -> list[Any]:
    """Return the JSON documents that follow one another in a text, and nothing else may stand in it."""
    found, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


@pytest.mark.parametrize(
    "command",
    [
        "status --json", "audit --json", "pending --json", "dead list --json",
        "submit examples/orders.jsonl --dry-run --json",
    ],
)  # fmt: skip
def test_command_keeps_its_log_out_of_what_it_prints(deployment: Deployment, command: str) -> None:
    with users(deployment, "secret") as urls:
        for node in deployment.servers.everywhere:
            with redis.Redis.from_url(node) as client:
                client.execute_command("ACL", "SETUSER", f"{deployment.name}_user", "-client")
        done = shell(deployment, f"$WORKER {command}", **urls, WORKER_LOG_LEVEL="DEBUG")

    assert done.returncode == 0, done.stderr
    assert "connections to redis have no name" in done.stderr
    assert all("event" not in each for each in documents(done.stdout))


def test_command_ends_with_its_code_where_nothing_can_be_said_at_all(deployment: Deployment) -> None:
    assert shell(deployment, "$WORKER status >/dev/full 2>/dev/full").returncode == UNWRITABLE
    assert shell(deployment, "$WORKER run 2>/dev/full", WORKER_BATCH_SIZE="0").returncode == 78
    assert shell(deployment, "$WORKER migrate <&- >&- 2>&-").returncode == 0


def test_added_orders_are_added_though_nothing_can_be_said_of_it(deployment: Deployment) -> None:
    done = shell(deployment, "$WORKER submit examples/orders.jsonl >/dev/full 2>/dev/full")

    assert done.returncode == UNWRITABLE
    assert deployment.redis.xlen(deployment.orders) == 500


def test_connection_never_takes_the_number_of_a_closed_stream(deployment: Deployment) -> None:
    shown = (
        "import os; from worker.cli.streams import open_what_is_closed; "
        "open_what_is_closed(); os._exit(os.open('/dev/null', os.O_RDONLY))"
    )

    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, shown],
        cwd=ROOT, env=deployment.process_environment(), timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode > 2


def test_warning_that_can_not_be_said_keeps_no_replica_from_starting(deployment: Deployment) -> None:
    environment = deployment.process_environment(health_port=free_port()) | {"WORKER_BATCHSIZE": "5"}
    deployment.submit(numbered_orders(5))
    with subprocess.Popen(
        ["/bin/sh", "-c", 'exec "$0" -m worker run >/dev/full 2>/dev/full', sys.executable],
        cwd=ROOT, env=environment,
    ) as replica:  # fmt: skip
        try:
            eventually(deployment.all_settled)
            replica.terminate()
            replica.wait(timeout=20)
        finally:
            replica.kill()

    assert replica.returncode == 0


def test_interrupt_of_a_terminal_is_heard_though_the_shell_had_it_ignored(deployment: Deployment) -> None:
    person, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", IN_THE_FOREGROUND, "run"],
        cwd=ROOT, env=deployment.process_environment(health_port=free_port()), stdin=terminal,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as replica:  # fmt: skip
        assert replica.stdout is not None
        try:
            while "worker started" not in replica.stdout.readline():
                assert replica.poll() is None
            os.write(person, b"\x03")
            said = replica.stdout.read()
        finally:
            replica.kill()
            os.close(person)
            os.close(terminal)

    assert (replica.returncode, "drained" in said) == (0, True)


def test_interrupt_of_a_background_job_stays_ignored(deployment: Deployment, tmp_path: Path) -> None:
    job = ("/bin/sh", "-c", "trap '' INT; exec \"$0\" -m worker run", sys.executable)
    replica = WorkerProcess(deployment, tmp_path / "log", job)
    try:
        eventually(lambda: replica.has_started)
        replica.signal(signal.SIGINT)
        deployment.submit(numbered_orders(5))
        eventually(deployment.all_settled)

        assert replica.drain() == 0
    finally:
        replica.end()
