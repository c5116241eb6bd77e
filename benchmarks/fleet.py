"""The worker processes of one run, from their start to their end."""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import cost
from benchmarks.designs import Design
from benchmarks.errors import NoFigure
from local.directory import last_lines
from local.guarded import GuardedProcess, Launch
from local.replicas import free_ports

ROOT = Path(__file__).parent.parent
DRAIN_LIMIT_S = 15.0


@dataclass(frozen=True)
class Fleet:
    """Processes of one design that are running, each with its log."""

    design: Design
    processes: Mapping[Path, GuardedProcess]
    # Where the worker answers HTTP.
    ports: Sequence[int] = ()

    @property
    def pids(self) -> list[int]:
        """The processes as they were started; they may have children."""
        return [process.pid for process in self.processes.values()]

    def check(self) -> None:
        """Raise NoFigure where one has ended."""
        for log, process in self.processes.items():
            if (code := process.poll()) is not None:
                raise self.failure(f"has ended with code {code}", log)

    def failure(self, what: str, log: Path | None = None) -> NoFigure:
        """Return the error that shows the end of a log."""
        shown = log or next(iter(self.processes))
        return NoFigure("\n  ".join([f"{self.design.name} {what}; the end of its log:", *last_lines(shown)]))

    def cpu_seconds(self) -> float:
        """Return what they have used so far."""
        return cost.cpu_seconds(self.pids)

    def peak_mb(self) -> float:
        """Return the most memory that one of them has held."""
        return cost.peak_mb(self.pids)


@contextmanager
def fleet(
    design: Design, count: int, urls: tuple[str, str], logs: Path, settings: Mapping[str, str]
) -> Iterator[Fleet]:
    """Start the processes, against Redis and PostgreSQL by their URLs, and end them afterwards."""
    logs.mkdir(exist_ok=True)
    started: dict[Path, GuardedProcess] = {}
    ports = free_ports(count)
    try:
        for number, port in enumerate(ports, start=1):
            log = logs / f"{design.name.replace(' ', '-')}-{number}.log"
            log.unlink(missing_ok=True)
            started[log] = GuardedProcess(
                Launch(
                    argv=[sys.executable, *design.argv],
                    directory=ROOT,
                    environ={**_environment(design, urls, number, port), **settings},
                    log=log,
                )
            )
        yield Fleet(design, started, ports)
    finally:
        deadline = time.monotonic() + DRAIN_LIMIT_S
        for process in started.values():
            if process.poll() is None:
                process.ask_to_end()
        for process in started.values():
            process.await_end(max(0.0, deadline - time.monotonic()))


def _environment(design: Design, urls: tuple[str, str], number: int, port: int) -> dict[str, str]:
    files = {"REDIS_URL_FILE", "DATABASE_URL_FILE"}
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("WORKER_") and name not in files
    }
    ours = {
        "REDIS_URL": urls[0],
        "DATABASE_URL": urls[1],
        "BENCH_CONSUMER": f"{design.name.replace(' ', '-')}-{number}",
        "WORKER_HEALTH_PORT": str(port),
    }
    return inherited | ours
