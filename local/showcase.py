"""`make run`: servers, two replicas, five hundred orders, and the proof that they add up."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from redis import Redis, RedisError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from local.errors import LocalServerError
from local.interrupts import INTERRUPTED, interrupt_once
from local.replicas import Replica, ReplicaFailedError, replicas
from local.servers import local_servers
from local.summary import show_addresses, show_tally
from local.tally import Queue, Tally
from local.watching import watch

LOOK_S = 0.2


class StepFailedError(Exception):
    """A command of the worker that the showcase needs has failed."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for."""

    orders: Path
    directory: Path
    replicas: int
    once: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run the showcase; return 0 when all adds up, 1 when not, 130 when interrupted before it is known."""
    options = _options(argv)
    console = Console()
    interrupt_once()
    try:
        with local_servers(options.directory, os.environ) as environ:
            # With batches of 500 the first replica to read would take every order, and the other show
            # nothing.
            return present(options, {"WORKER_BATCH_SIZE": "25", **environ}, console)
    except (LocalServerError, ReplicaFailedError, StepFailedError) as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def present(options: Options, environ: Mapping[str, str], console: Console) -> int:
    """Put the orders through the replicas, show the outcome, and serve until interrupted if asked to."""
    _worker(environ, "migrate")
    results_before = _results(environ)
    with replicas(options.replicas, environ, options.directory / "log") as team:
        console.print(
            f"{len(team)} replicas are ready, logs in {options.directory / 'log'}.", highlight=False
        )
        tally = _settle_all(options.orders, environ, team, results_before, console)
        show_tally(tally, console)
        if not options.once:
            show_addresses(team, console)
            _serve(team, console)
    return 1 if tally.faults() else 0


def _settle_all(
    orders: Path, environ: Mapping[str, str], team: Sequence[Replica], results_before: int, console: Console
) -> Tally:
    submitted = sum(1 for line in orders.read_bytes().splitlines() if line.strip())
    start = Tally(submitted, (), Queue(None, None, None), results_before)
    began = time.monotonic()
    _worker(environ, "submit", str(orders))
    columns = (TextColumn("settled"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("settled", total=submitted)
        return watch(team, start, began, lambda settled: progress.update(bar, completed=settled))


def _serve(team: Sequence[Replica], console: Console) -> None:
    """Return at Ctrl-C or SIGTERM; raise when a replica dies."""
    console.print("Serving until Ctrl-C.")
    try:
        while True:
            for replica in team:
                replica.check()
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        console.print("Draining the replicas.")


def _worker(environ: Mapping[str, str], *arguments: str) -> None:
    code = subprocess.run([sys.executable, "-m", "worker", *arguments], env=environ, check=False).returncode
    if code != 0:
        raise StepFailedError(f"`worker {arguments[0]}` has failed with code {code}.")


def _results(environ: Mapping[str, str]) -> int:
    """Return the length of the results stream; /status says it too late, once replicas are at work."""
    url = environ.get("REDIS_URL") or Path(environ["REDIS_URL_FILE"]).read_text().strip()
    try:
        with Redis.from_url(url) as redis:
            length: int = redis.xlen(environ.get("WORKER_RESULTS_STREAM", "order_results"))
            return length
    except RedisError as error:
        raise StepFailedError(f"Redis does not answer: {error}") from error


def _options(argv: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m local.showcase", description=__doc__)
    parser.add_argument(
        "--orders", type=Path, default=Path("examples/orders.jsonl"), help="default: %(default)s"
    )
    parser.add_argument("--directory", type=Path, default=Path(".local"), help="default: %(default)s")
    parser.add_argument("--replicas", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--once", action="store_true", help="stop everything when the orders are settled")
    found = parser.parse_args(argv)
    if not found.orders.is_file():
        parser.error(f"no such file: {found.orders}")
    if found.replicas < 1:
        parser.error("at least one replica is needed")
    return Options(found.orders, found.directory, found.replicas, found.once)


if __name__ == "__main__":
    sys.exit(main())
