"""Forks worker processes from one that has imported everything, at a tenth of a new interpreter's start.

The server is a process of its own with a single thread, since a fork takes no other thread along. It is asked
over a socket, one line of JSON each way, and kills what it has forked when that socket is closed.
"""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.directory import free_port
from tests.harness import Deployment, eventually
from tests.processes import ROOT, WorkerProcess
from worker.bootstrap.replica import EXIT_STOPPED

_LOOK_EVERY_S = 0.005


class Forkserver:
    """The way to the server: starts it, in a tree that has tests and worker, asks it, ends it."""

    def __init__(self, tree: Path = ROOT) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.forkserver", str(theirs.fileno())],
                cwd=tree,
                pass_fds=[theirs.fileno()],
            )
        self._socket = ours
        self._lines = ours.makefile("rw", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._socket.close()
        self._process.wait(timeout=20)

    def ask(self, **question: object) -> Any:
        """Send a question and return the answer."""
        self._lines.write(f"{json.dumps(question)}\n")
        self._lines.flush()
        return json.loads(self._lines.readline())

    def fork(
        self, program: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> "Forked":
        """Start `worker` or `victim` with arguments, as a process with this environment and log."""
        pid: int = self.ask(
            program=program, arguments=[*arguments], environment={**environment}, log=str(log)
        )
        return Forked(self, pid)

    @contextmanager
    def running(
        self, deployment: Deployment, log: Path, program: str, *arguments: str, **overrides: object
    ) -> Iterator["ForkedWorker"]:
        """Run a process beside the block, and kill it at its end where it still runs."""
        process = ForkedWorker(self, deployment, log, program, arguments, **overrides)
        try:
            yield process
        finally:
            process.end()


class Forked:
    """A forked process, as subprocess.Popen shows one."""

    def __init__(self, server: Forkserver, pid: int) -> None:
        self._server = server
        self._code: int | None = None
        self.pid = pid

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        if self._code is None:
            self._code = self._server.ask(poll=self.pid)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code. Raises TimeoutExpired."""
        deadline = time.monotonic() + (60 if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a forked process", timeout or 60)
            time.sleep(_LOOK_EVERY_S)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            # Nobody reaps it but the server, when it is asked: the id can't be another's by now.
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


class ForkedWorker(WorkerProcess):
    """A worker process like any other, but for how it was started."""

    def __init__(
        self,
        server: Forkserver,
        deployment: Deployment,
        log: Path,
        program: str,
        arguments: Sequence[str],
        **overrides: object,
    ) -> None:
        self.port = free_port()
        self.log = log
        log.touch()
        environment = deployment.process_environment(health_port=self.port, **overrides)
        self._process = server.fork(program, arguments, environment, log)  # type: ignore[assignment]

    @property
    def has_ended(self) -> bool:
        """Whether it has."""
        return self._process.poll() is not None

    def await_word(self, word: str, within: float = 20) -> None:
        """Return when it has said this; fail when it ends or time runs out before it did."""
        ended_before = False

        def said() -> bool:
            nonlocal ended_before
            if word in self.said:
                return True
            assert not ended_before, f"it ended and never said {word!r}:\n{self.said[-3000:]}"
            ended_before = self.has_ended
            return False

        try:
            eventually(said, within=within)
        except AssertionError as error:
            error.add_note(self.said[-3000:])
            raise


def _serve(asked: socket.socket) -> None:
    children: dict[int, int | None] = {}
    lines = asked.makefile("rw", encoding="utf-8")
    for line in lines:
        question = json.loads(line)
        if "poll" in question:
            answer = _code_of(children, question["poll"])
        else:
            answer = _fork(asked, question)
            children[answer] = None
        lines.write(f"{json.dumps(answer)}\n")
        lines.flush()
    for pid, code in children.items():
        if code is None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _code_of(children: dict[int, int | None], pid: int) -> int | None:
    if children[pid] is None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            children[pid] = os.waitstatus_to_exitcode(status)
    return children[pid]


def _fork(asked: socket.socket, question: Mapping[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = EXIT_STOPPED
    try:
        asked.close()
        out = os.open(question["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(out, sys.stdout.fileno())
        os.dup2(out, sys.stderr.fileno())
        os.environ.clear()
        os.environ.update(question["environment"])
        code = _ended(_programs()[question["program"]], question["arguments"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Nothing of the server's is to be tidied up by its child.
        os._exit(code)


def _ended(program: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> int:
    try:
        program(arguments)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # noqa: BLE001  as the interpreter ends
        traceback.print_exc()
        return 1
    return 0


def _programs() -> dict[str, Callable[[Sequence[str]], None]]:
    # Imported here alone, so that asking the server costs no imports.
    from tests.faults import victim  # noqa: PLC0415
    from tests.faults.storm import replicas  # noqa: PLC0415
    from worker.cli import main, run  # noqa: F401, PLC0415  the file of `run`, imported when it is asked for

    return {"worker": main, "victim": victim.run, "storm": replicas.run}


if __name__ == "__main__":
    _programs()
    # What is here by now is never garbage: looking at it would copy it in every child.
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
