"""Rows that go: a day of them is let go, beside the orders of today."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Event, Thread

from benchmarks.arena import Arena
from benchmarks.contest import Case, Standing, hold
from benchmarks.designs import WORKER
from benchmarks.errors import NoFigure
from benchmarks.measure import Measured, Run, paced
from benchmarks.scenarios.sizes import Sizes, Tell
from benchmarks.scenarios.waits import pace
from benchmarks.tables import FIRST_DAYS_AGO, SECOND_DAYS_AGO, Tables

RATE = 2000
KEPT_DAYS = (FIRST_DAYS_AGO + SECOND_DAYS_AGO) // 2
DAY_S = 86_400
SOURCE = "orders"
LOOKED_EVERY_S = 0.05
COUNTED_EVERY_S = 1.0
# So many rows a second have to go at the least.
LEAST = 200
WAYS: Sequence[tuple[str, bool, Mapping[str, str]]] = (
    ("ids in order", True, {}),
    ("ids anywhere", False, {}),
    ("ids anywhere, few checkpoints", False, {"max_wal_size": "16GB", "checkpoint_timeout": "30min"}),
)


@dataclass
class _Seen:
    """What was seen of the tables while a day went."""

    lock_ms: float = 0.0
    dead: int = 0


def leaving(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Let half of the rows go while 2,000 orders a second are executed, and compare with all of them staying.

    `--orders` is how many rows there are. The tables are filled anew for each way.
    """
    held = sizes.of(10_000_000, 100_000)
    seconds = 5 if sizes.quick else 60
    standings = []
    for way, in_order, settings in WAYS:
        stay, go = f"{way}: all stay", f"{way}: half go"
        cases = [
            _case(arena, sizes, tell, stay, stay, held, settings, seconds=seconds, in_order=in_order),
            _case(arena, sizes, tell, go, stay, held, settings, seconds=0, in_order=in_order),
        ]
        # In the first round the one that has its rows go comes last, so that the tables are filled once.
        standings += hold(cases, sizes.turns(1, 1), tell)
    return standings


def _case(
    arena: Arena,
    sizes: Sizes,
    tell: Tell,
    name: str,
    against: str,
    held: int,
    settings: Mapping[str, str],
    *,
    seconds: int,
    in_order: bool,
) -> Case:
    """Return a case that takes so many seconds, or else until the rows have gone that may."""
    most = RATE * (seconds or held // 2 // LEAST + 60)

    def run(turn: int) -> Measured:
        load = replace(sizes.load(most, turn), ids_in_order=in_order)
        keep = {} if seconds else {"WORKER_ROWS_KEEP_S": str(KEPT_DAYS * DAY_S)}
        run = Run(
            design=WORKER,
            load=load,
            tables=arena.held,
            settings=keep,
            prepare=lambda: arena.streams.forget_marks_before(time.time() - SECOND_DAYS_AGO * DAY_S),
        )
        tell(f"{held:,} orders and their trades in the tables")
        arena.held.fill(held, ids_in_order=in_order, source=SOURCE)
        with arena.held.configured(settings):
            measured = _measured(arena, run, due=0 if seconds else held // 2, seconds=seconds)
        # This takes long, and the table comes last.
        tell(", ".join(f"{what} {figure:,.1f}" for what, figure in measured.remarks.items()))
        return measured

    return Case(name=name, against=against, run=run)


def _measured(arena: Arena, run: Run, *, due: int, seconds: int) -> Measured:
    """Measure until so many rows have gone, or for so many seconds."""
    tables, entries = arena.held, map(run.design.form, run.load)
    told: dict[str, float] = {}

    def produce() -> int:
        before, vacuums, began = tables.sizes_mb(), tables.vacuumed()[0], time.monotonic()
        over = _now_and_then(lambda: tables.pruned() >= due if due else time.monotonic() > began + seconds)
        with _watching(tables) as seen:
            added = pace(arena.streams, entries, RATE, over)
        took, after = time.monotonic() - began, tables.sizes_mb()
        if (gone := tables.pruned()) != due:
            raise NoFigure(f"{gone:,} instead of {due:,} rows have gone in {took:.0f} s.")
        told.update(
            {
                "gone a second": gone / took,
                "lock ms": seen.lock_ms,
                "dead rows": seen.dead,
                "vacuums": tables.vacuumed()[0] - vacuums,
                "MB before": before["orders"] + before["trades"],
                "MB after": after["orders"] + after["trades"],
                "log MB a second": (after["log"] - before["log"]) / took,
            }
        )
        return added

    return replace(paced(arena, run, produce), remarks=told)


def _now_and_then(condition: Callable[[], bool]) -> Callable[[], bool]:
    """Return a condition that is looked at so often only that this costs nothing."""
    looked_at = time.monotonic()

    def looked() -> bool:
        nonlocal looked_at
        if time.monotonic() < looked_at + COUNTED_EVERY_S:
            return False
        looked_at = time.monotonic()
        return condition()

    return looked


@contextmanager
def _watching(tables: Tables) -> Iterator[_Seen]:
    seen, over = _Seen(), Event()

    def look() -> None:
        while not over.wait(LOOKED_EVERY_S):
            seen.lock_ms = max(seen.lock_ms, tables.waits_for_locks_ms())
            seen.dead = max(seen.dead, tables.vacuumed()[1])

    thread = Thread(target=look, name="watching")
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
