"""Replicas of the worker as subprocesses, and what they say over HTTP."""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from local.directory import LOOPBACK, is_free, last_lines, make_directory
from local.guarded import GuardedProcess, Launch
from local.tally import Counts, Queue

FIRST_PORT = 8003
READY_LIMIT_S = 60.0
DRAIN_LIMIT_S = 15.0
OK = 200


class ReplicaFailedError(Exception):
    """A replica is of no use; the message says which and shows the end of its log."""


class Replica:
    """One `worker run`, from its start to its end."""

    def __init__(self, number: int, port: int, environ: Mapping[str, str], logs: Path) -> None:
        """Start it, with a new log."""
        self.name = f"replica {number}"
        self.port = port
        self.log = logs / f"replica-{number}.log"
        self.log.unlink(missing_ok=True)
        self.status: Mapping[str, Any] = {}
        own = {"WORKER_HEALTH_HOST": LOOPBACK, "WORKER_HEALTH_PORT": str(port), "WORKER_LOG_FORMAT": "json"}
        self.process = GuardedProcess(
            Launch(
                argv=[sys.executable, "-m", "worker", "run"],
                directory=Path.cwd(),
                environ={**environ, **own},
                log=self.log,
            )
        )

    @property
    def is_ready(self) -> bool:
        """Whether it answers /ready with 200."""
        return fetch(self.port, "/ready")[0] == OK

    @property
    def counts(self) -> Counts:
        """What it has done, by its last /status."""
        return Counts.of(self.status)

    @property
    def queue(self) -> Queue:
        """What it sees on the streams, by its last /status."""
        return Queue.of(self.status)

    def refresh(self) -> None:
        """Ask for /status; where it does not answer in time the last one stands."""
        self.check()
        code, body = fetch(self.port, "/status")
        if code == OK:
            self.status = json.loads(body)

    def check(self) -> None:
        """Raise where the process has ended."""
        code = self.process.poll()
        if code is not None:
            raise self.failure(f"has ended with code {code}")

    def failure(self, what: str) -> ReplicaFailedError:
        """Return the error that says what is wrong and shows the end of the log."""
        lines = [f"{self.name} {what}; the end of {self.log}:", *last_lines(self.log)]
        return ReplicaFailedError("\n  ".join(lines))


@contextmanager
def replicas(count: int, environ: Mapping[str, str], logs: Path) -> Iterator[list[Replica]]:
    """Yield replicas that are ready, and drain them all at once afterwards."""
    make_directory(logs)
    team: list[Replica] = []
    try:
        for number, port in enumerate(free_ports(count), start=1):
            team.append(Replica(number, port, environ, logs))
        await_ready(team)
        yield team
    finally:
        drain(team)


def await_ready(team: Sequence[Replica]) -> None:
    """Return once all are ready; raise where one has ended or takes too long."""
    deadline = time.monotonic() + READY_LIMIT_S
    for replica in team:
        while not replica.is_ready:
            replica.check()
            if time.monotonic() > deadline:
                raise replica.failure(f"was not ready within {READY_LIMIT_S:.0f} s")
            time.sleep(0.05)
        replica.refresh()


def drain(team: Sequence[Replica]) -> list[int]:
    """Ask all to end at once, and return their exit codes; a replica that takes too long is killed."""
    for replica in team:
        replica.process.ask_to_end()
    deadline = time.monotonic() + DRAIN_LIMIT_S
    return [replica.process.await_end(max(0.0, deadline - time.monotonic())) for replica in team]


def free_ports(count: int) -> list[int]:
    """Return the first free ports from 8003 on."""
    free: list[int] = []
    port = FIRST_PORT
    while len(free) < count:
        if is_free(port):
            free.append(port)
        port += 1
    return free


def fetch(port: int, path: str) -> tuple[int | None, bytes]:
    """Return the answer's code and body; the code is None where there was no answer."""
    connection = HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, HTTPException):
        return None, b""
    finally:
        connection.close()
