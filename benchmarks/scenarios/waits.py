"""Time on the way: from an order's entry to its result, at a given rate and with servers far away."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice

from benchmarks.arena import Arena
from benchmarks.contest import Case, Standing, hold
from benchmarks.designs import REFERENCE, WORKER, Design
from benchmarks.designs.forms import Fields
from benchmarks.measure import Measured, Run, drain, paced
from benchmarks.network import far_away
from benchmarks.scenarios.sizes import Sizes, Tell
from benchmarks.streams import Streams
from benchmarks.tables import round_trip_ms

RATES = (50, 200, 1000, 5000)
EACH_WAY_MS = 0.5


def latency(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Measure the way from entry to result at four rates, and at half of what a replica can do here and now.

    `--orders` is how many at 1,000 a second.
    """
    seconds = sizes.of(20_000, 3000) / 1000
    most = drain(arena, Run(design=WORKER, load=sizes.load(sizes.of(40_000, 10_000), 0))).rate
    tell(f"most that one replica can do: {most:,.0f} a second")
    half = max(round(most / 200) * 100, 100)
    cases = [
        _paced(arena, sizes, design, rate, seconds)
        for rate in sorted({*RATES, half})
        for design in sizes.pair
    ]
    return hold(cases, sizes.turns(5, 1), tell)


def network(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare servers that are a round trip of a millisecond away with servers on this machine."""
    orders = sizes.of(40_000, 10_000)
    here = (arena.redis.url, arena.tables.url)
    with ExitStack() as opened:
        logs = arena.folder / "logs"
        logs.mkdir(exist_ok=True)
        far = (
            opened.enter_context(far_away(arena.redis.url, EACH_WAY_MS, logs / "far-redis.log")),
            opened.enter_context(far_away(arena.tables.url, EACH_WAY_MS, logs / "far-postgres.log")),
        )
        cases = []
        for design in sizes.pair:
            near = f"{design.name}, on this machine"
            cases += [
                _drained(arena, sizes, design, orders, near, near, here),
                _drained(arena, sizes, design, orders, f"{design.name}, 1 ms away", near, far),
            ]
        return hold(cases, sizes.turns(5, 1), tell)


def pace(
    streams: Streams, entries: Iterator[Fields], rate: float, over: Callable[[], bool] = lambda: False
) -> int:
    """Add the entries at a rate, by the clock, until there are no more or it is over; return how many.

    What was late is added at once, and nothing is left out.
    """
    began, added = time.perf_counter(), 0
    while not over():
        due = int((time.perf_counter() - began) * rate) + 1 - added
        chunk = list(islice(entries, max(due, 0)))
        if due > 0 and not chunk:
            break
        if chunk:
            streams.add(chunk)
            added += len(chunk)
        time.sleep(max(0.0, began + added / rate - time.perf_counter()))
    return added


def _paced(arena: Arena, sizes: Sizes, design: Design, rate: int, seconds: float) -> Case:
    orders = max(round(rate * seconds), 1)

    def run(turn: int) -> Measured:
        load = sizes.load(orders, turn)
        entries = map(design.form, load)
        return paced(arena, Run(design=design, load=load), lambda: pace(arena.streams, entries, rate))

    return Case(name=f"{design.name} at {rate:,}/s", against=f"{REFERENCE} at {rate:,}/s", run=run)


def _drained(
    arena: Arena,
    sizes: Sizes,
    design: Design,
    orders: int,
    name: str,
    against: str,
    urls: tuple[str, str],
) -> Case:
    redis_url, database_url = urls

    def run(turn: int) -> Measured:
        trips = {
            "Redis ping ms": arena.streams.round_trip_ms(redis_url),
            "PostgreSQL ping ms": round_trip_ms(database_url),
        }
        measured = drain(arena, Run(design=design, load=sizes.load(orders, turn), urls=urls))
        return replace(measured, remarks={**measured.remarks, **trips})

    return Case(name=name, against=against, run=run)
