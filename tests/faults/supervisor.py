"""Starts a replica again whenever it ends, as any supervisor does.

It ends a replica that takes too much memory, as a container does.
"""

import re
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Protocol

from local.directory import free_port
from tests.faults.executors import NOTES
from tests.harness import Deployment
from tests.processes import COMMAND, ROOT

LOOK_EVERY_S = 0.002


class Supervisor:
    """One replica, in as many lives as it takes."""

    def __init__(
        self, deployment: Deployment, folder: Path, *, most_bytes: int | None = None, **overrides: object
    ) -> None:
        self._folder = folder
        self.notes = folder / "executions"
        self.notes.touch()
        settings = deployment.process_environment(health_port=free_port(), **overrides)
        self._environment = settings | {NOTES: str(self.notes)}
        self._process: subprocess.Popen[bytes] | None = None
        self._most_bytes = most_bytes
        self._leaving = Event()
        self._watch = Thread(target=self._end_what_takes_too_much, daemon=True)
        self.starts = self.ended_for_memory = self.largest = 0

    def look(self) -> None:
        """Start the replica where it does not run."""
        if self._process is None or self._process.poll() is not None:
            self.starts += 1
            with (self._folder / f"{self.starts}.log").open("wb") as log:
                self._process = subprocess.Popen(
                    COMMAND, cwd=ROOT, env=self._environment, stdout=log, stderr=log
                )
        if self._most_bytes is not None and not self._watch.is_alive():
            self._watch.start()

    def drain(self) -> int:
        """Ask it to leave, and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=20)

    def end(self) -> None:
        """Kill it where it still runs."""
        self._leaving.set()
        if self._watch.is_alive():
            self._watch.join()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def executions(self) -> Counter[str]:
        """How often each poison order was executed."""
        return Counter(self.notes.read_text(encoding="utf-8").split())

    def _end_what_takes_too_much(self) -> None:
        assert self._most_bytes is not None
        while not self._leaving.wait(LOOK_EVERY_S):
            process = self._process
            if process is None or process.poll() is not None:
                continue
            taken = resident(process.pid)
            self.largest = max(self.largest, taken)
            if taken > self._most_bytes:
                self.ended_for_memory += 1
                process.kill()
                process.wait()


class Supervised(Protocol):
    """Makes supervisors."""

    def __call__(self, count: int, *, most_bytes: int | None = None, **overrides: object) -> list[Supervisor]:
        """Return so many of replicas with such settings."""


def resident(pid: int) -> int:
    """Return how many bytes a process has in memory; 0 where it is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
        return int(found[1]) * 1024 if found else 0
    return 0
