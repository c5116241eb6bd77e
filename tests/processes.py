"""Worker processes under test: the real command, or the victim that stops at a chosen point."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from local.directory import free_port
from tests.commands import typed_by
from tests.faults.victim import REACHED
from tests.harness import PATIENT_START, WORKER, Deployment, busyness, eventually
from worker.consumer import Tally

ROOT = Path(__file__).parent.parent
COMMAND = (sys.executable, "-m", "worker", "run")


@contextmanager
def heard(number: signal.Signals, handler: Any = signal.SIG_DFL) -> Iterator[None]:
    """Handle a signal here, and so by default in what this process starts, even if told to ignore it."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


class WorkerProcess:
    """One process of the worker in a tree, with a log of its own. Ends with the test, whatever happens."""

    def __init__(
        self,
        deployment: Deployment,
        log: Path,
        command: Sequence[str] = COMMAND,
        tree: Path = ROOT,
        /,
        **overrides: object,
    ) -> None:
        self.port = free_port()
        self.log = log
        who = typed_by(*command[3:]) if command[2:3] == ("worker",) else WORKER
        environment = deployment.process_environment(
            who, health_port=self.port, **{**PATIENT_START, **overrides}
        )
        with log.open("wb") as out:
            # In a session of its own: a terminal that the tests have is none of its business.
            self._process = subprocess.Popen(
                command, cwd=tree, env=environment, stdout=out, stderr=out, start_new_session=True
            )

    @property
    def said(self) -> str:
        """Everything it printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its log lines that are JSON."""
        return [json.loads(line) for line in self.said.splitlines() if line.startswith("{")]

    @property
    def tally(self) -> Tally:
        """What it counted, as it said when it had drained."""
        (drained,) = (event for event in self.events if event["event"] == "drained")
        return Tally(**{name: drained[name] for name in Tally.__struct_fields__})

    @property
    def pid(self) -> int:
        """Its process id, which is a part of its consumer's name."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def has_started(self) -> bool:
        """Whether it takes orders; fails when it ended instead."""
        assert self._process.poll() in {None, -signal.SIGKILL}, self.said
        return "worker started" in self.said or REACHED in self.said or self._process.poll() is not None

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, within: float = 20) -> int:
        """Return its exit code."""
        return self._process.wait(timeout=within * busyness())

    def drain(self) -> int:
        """Ask it to leave, and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def end(self) -> None:
        """Kill it where it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def is_stopped(self) -> bool:
        """Whether SIGSTOP has taken effect."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        return stat.rpartition(")")[2].split()[0] == "T"

    def has_sockets(self) -> bool:
        """Whether it has opened any: its imports are done."""
        with suppress(FileNotFoundError):
            opened = Path(f"/proc/{self._process.pid}/fd").iterdir()
            return any(str(each.readlink()).startswith("socket:") for each in opened)
        # One was closed meanwhile, or the process has ended.
        return False

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask its HTTP port; status 0 where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""


@contextmanager
def workers(
    deployment: Deployment, folder: Path, count: int, tree: Path = ROOT, /, **overrides: object
) -> Iterator[list[WorkerProcess]]:
    """Start replicas of the worker in a tree, wait until they take orders, end them in the end."""
    with ExitStack() as stack:
        started = []
        for number in range(count):
            log = folder / f"worker-{number}-{free_port()}.log"
            process = WorkerProcess(deployment, log, COMMAND, tree, **overrides)
            stack.callback(process.end)
            started.append(process)
        for process in started:
            eventually(partial(getattr, process, "has_started"))
        yield started


@contextmanager
def victim(
    deployment: Deployment, folder: Path, point: str, way: str, **overrides: object
) -> Iterator[WorkerProcess]:
    """Start a worker that stops itself at a point in some way."""
    command = (sys.executable, "-m", "tests.faults.victim", point, way)
    process = WorkerProcess(deployment, folder / "victim.log", command, **overrides)
    try:
        yield process
    finally:
        process.end()


def said_to_nobody(deployment: Deployment, command: Sequence[str]) -> str:
    """Run a command whose output nobody reads, and return what it said on standard error."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "worker", *command],
        cwd=ROOT, env=deployment.process_environment(typed_by(*command)), timeout=60, check=False, text=True,
        stdout=writing, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(writing)
    return done.stderr


def assert_quiet(said: str) -> None:
    """Assert that a closed pipe is nothing to talk about."""
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
    assert "Exception" not in said
