"""What it costs to be watched: measuring, and somebody who asks for /metrics all the time."""

import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from threading import Event, Thread

from benchmarks.arena import Arena
from benchmarks.contest import Case, Standing, hold
from benchmarks.designs import WORKER, Design
from benchmarks.fleet import Fleet
from benchmarks.measure import Measured, Run, drain
from benchmarks.scenarios.sizes import Sizes, Tell

# Fifteen times as often as Prometheus does by default.
SCRAPED_EVERY_S = 1.0
UNMEASURED = replace(WORKER, name="worker, unmeasured", argv=("-m", "benchmarks.designs.unmeasured", "run"))


def metrics(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare the worker as it is with one that measures nothing, and with one that is asked each second."""
    orders = sizes.of(80_000, 16_000)
    cases = [
        _case(arena, sizes, UNMEASURED, orders, "measures nothing"),
        _case(arena, sizes, UNMEASURED, orders, "measures nothing, again"),
        _case(arena, sizes, WORKER, orders, "as it is"),
        _case(arena, sizes, WORKER, orders, "as it is, asked each second", _scraping),
    ]
    return hold(cases, sizes.turns(8, 2), tell)


def _case(
    arena: Arena,
    sizes: Sizes,
    design: Design,
    orders: int,
    name: str,
    observed: Callable[[Fleet], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> Case:
    def run(turn: int) -> Measured:
        return drain(arena, Run(design=design, load=sizes.load(orders, turn)), observed)

    return Case(name=name, against="measures nothing", run=run)


@contextmanager
def _scraping(team: Fleet) -> Iterator[None]:
    over = Event()

    def ask() -> None:
        while not over.is_set():
            for port in team.ports:
                # One that is late is late for Prometheus, too.
                with (
                    suppress(OSError),
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page,
                ):
                    page.read()
            over.wait(SCRAPED_EVERY_S)

    thread = Thread(target=ask, name="scraping")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
