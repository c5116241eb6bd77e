"""An order's time as a flame graph and as tables of the largest costs: `python -m benchmarks.profiling`."""

import argparse
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.arena import Arena, arena
from benchmarks.console import FOLDER, exit_code, wide_console
from benchmarks.designs import DESIGNS
from benchmarks.errors import NoFigure
from benchmarks.fleet import ROOT, Fleet
from benchmarks.load import Load
from benchmarks.measure import Measured, Run, drain

SAMPLES_PER_S = 500
ATTACHED_AFTER_S = 1.0
LARGEST = 10
_FRAME = re.compile(r"(?P<function>.*) \((?P<file>[^()]*?):(?P<line>\d+)\)$")
_STATEMENT = re.compile(
    r"duration: (?P<ms>[\d.]+) ms  (?P<step>parse|bind|execute|statement)(?: [^:]*)?: (?P<text>.*)"
)


def main(arguments: list[str]) -> int:
    """Profile one process of a design; return 1 where a run does not count, 3 where there are no servers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiling", description=__doc__)
    parser.add_argument("--design", choices=[design.name for design in DESIGNS], default="worker")
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--flame-graph", type=Path, default=ROOT / ".local" / "bench" / "profile.svg")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="on disk; the servers work in it")
    wanted = parser.parse_args(arguments)
    console = wide_console()
    return exit_code(console, lambda: _profile(wanted, console))


def _profile(wanted: argparse.Namespace, console: Console) -> None:
    with arena(wanted.folder) as servers:
        _profile_on(servers, wanted, console)


def _profile_on(servers: Arena, wanted: argparse.Namespace, console: Console) -> None:
    (design,) = (design for design in DESIGNS if design.name == wanted.design)
    run = Run(design=design, load=Load(orders=wanted.orders, seed=1))
    wanted.flame_graph.parent.mkdir(parents=True, exist_ok=True)
    drain(servers, run, partial(_sampled, form="flamegraph", into=wanted.flame_graph))
    stacks = servers.folder / "stacks"
    measured = drain(servers, run, partial(_sampled, form="raw", into=stacks))
    console.print(_functions(costs(stacks.read_text(encoding="utf-8").splitlines()), measured, design.name))
    # By itself: to log each statement costs more than some of them do.
    with servers.tables.statements_logged():
        drain(servers, run)
    log = servers.postgres.log.read_text(encoding="utf-8", errors="replace").splitlines()
    console.print(_statements(statements(log), wanted.orders))
    console.print(f"flame graph: {wanted.flame_graph}", markup=False)


@contextmanager
def _sampled(team: Fleet, *, form: str, into: Path) -> Iterator[None]:
    """Have py-spy look at the first process, without stopping it, until the block ends."""
    into.unlink(missing_ok=True)
    command = [
        "record",
        "--nonblocking",
        "--rate",
        str(SAMPLES_PER_S),
        "--duration",
        "86400",
        "--format",
        form,
    ]
    with subprocess.Popen(  # noqa: S603  our own words
        [Path(sys.executable).with_name("py-spy"), *command, "--output", into, "--pid", str(team.pids[0])],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as recorder:
        time.sleep(ATTACHED_AFTER_S)
        try:
            yield
        finally:
            recorder.send_signal(signal.SIGINT)
            _, said = recorder.communicate()
    if not into.exists():
        raise NoFigure(f"py-spy has seen nothing: {said.strip()}")


def costs(stacks: Iterable[str]) -> Counter[str]:
    """Return the samples by function of ours: by the innermost that was at work, whatever it called."""
    found = Counter[str]()
    for line in stacks:
        stack, _, samples = line.rpartition(" ")
        frames = [match for match in map(_FRAME.match, stack.split(";")) if match]
        ours = [frame for frame in frames if frame["file"].startswith(("worker/", "benchmarks/designs/"))]
        innermost = ours[-1] if ours else None
        name = "none of ours" if innermost is None else f"{innermost['function']} ({innermost['file']})"
        found[name] += int(samples)
    return found


def statements(log: Iterable[str]) -> Counter[str]:
    """Return the milliseconds by statement that a server has logged, parsing and binding included."""
    found = Counter[str]()
    for match in map(_STATEMENT.search, log):
        if match:
            found[" ".join(match["text"].split())] += float(match["ms"])  # type: ignore[assignment]
    return found


def _functions(found: Counter[str], measured: Measured, design: str) -> Table:
    us = measured.used.worker_cpu_s / measured.entries * 1e6
    made = Table(title=f"{design}: {us:.1f} us of CPU an order, the largest parts of it")
    made.add_column("us an order", justify="right")
    made.add_column("function, with what it calls that is not ours")
    for name, samples in found.most_common(LARGEST):
        made.add_row(f"{us * samples / found.total():.1f}", name)
    return made


def _statements(found: Counter[str], orders: int) -> Table:
    made = Table(title="PostgreSQL: the largest statements, as the server times them")
    made.add_column("us an order", justify="right")
    made.add_column("statement", no_wrap=True)
    for text, ms in found.most_common(LARGEST // 2):
        made.add_row(f"{ms * 1000 / orders:.1f}", text[:100])
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
