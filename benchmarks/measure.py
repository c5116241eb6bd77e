"""One measurement: clear, start, warm up, load, let go, wait, check; a figure only where all of it went well.

Times are those of Redis alone: from the entry that lets the orders go, with every process up and waiting, to
the last result. Starting up is no part of it, nor is the loading.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice

from benchmarks.arena import Arena
from benchmarks.checks import Wanted, faults
from benchmarks.designs import Design
from benchmarks.designs.surroundings import LETTERS, RESULTS
from benchmarks.errors import NoFigure
from benchmarks.fleet import Fleet, fleet
from benchmarks.load import Load
from benchmarks.streams import Result
from benchmarks.tables import Tables

READY_LIMIT_S = 60.0
ACK_LIMIT_S = 5.0
POLL_S = 0.02
# The slowest design does some hundreds a second; whatever is ten times slower has stopped.
BASE_LIMIT_S = 60.0
LEAST_RATE = 50
HANDFULS = 20
HANDFUL = 10


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is measured: a design, its orders, how many processes; the way to the servers if not direct.

    `prepare` is called once everything is cleared, before the processes start.
    """

    design: Design
    load: Load
    workers: int = 1
    batch: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    urls: tuple[str, str] | None = None
    tables: Tables | None = None
    prepare: Callable[[], None] = lambda: None

    @property
    def wanted(self) -> Wanted:
        """What the run must leave behind."""
        return self.load.wanted(
            repeats_answered=self.design.repeats_answered, junk_buried=self.design.junk_buried
        )


@dataclass(frozen=True)
class Used:
    """The CPU seconds of a run by process, and the memory of the largest worker process."""

    worker_cpu_s: float
    redis_cpu_s: float
    postgres_cpu_s: float
    peak_mb: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The figures of one run."""

    entries: int
    seconds: float
    used: Used
    latencies_ms: tuple[int, ...] = ()
    remarks: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Entries a second."""
        return self.entries / self.seconds


@dataclass
class _Meter:
    """What all processes had used when it was made; the difference is the run's."""

    arena: Arena
    team: Fleet

    def __post_init__(self) -> None:
        self.before = self._now()

    def used(self) -> Used:
        """Return what was used since, and the most memory so far."""
        worker, redis, postgres = (
            after - before for before, after in zip(self.before, self._now(), strict=True)
        )
        return Used(worker, redis, postgres, self.team.peak_mb())

    def _now(self) -> tuple[float, float, float]:
        return (self.team.cpu_seconds(), *self.arena.cpu_seconds())


def drain(
    arena: Arena,
    run: Run,
    observed: Callable[[Fleet], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> Measured:
    """Measure how fast the orders of a run are worked through that were all there before. Raises NoFigure.

    `observed` is around the work alone; what it costs is in the figures.
    """
    with _prepared(arena, run), _started(arena, run) as team:
        warm = _warm_up(arena, run, team)
        arena.streams.hold_back()
        last = arena.streams.add_but_last(map(run.design.form, run.load))
        arena.settle_down()
        _await_ready(arena, run, team)
        with observed(team):
            meter = _Meter(arena, team)
            began_ms = arena.streams.release(last, settled=warm)
            _await_results(arena, team, run.wanted.besides(warm))
            used = meter.used()
        _await_acks(arena)
    results = _verified(arena, run, warm)
    return Measured(
        entries=run.load.entries,
        seconds=_seconds(began_ms, results[-1].at_ms),
        used=used,
    )


def restart(arena: Arena, run: Run, *, abandoned: bool) -> Measured:
    """Measure from the start of the processes on, with all orders new or all left behind by a dead one."""
    with _prepared(arena, run):
        arena.streams.hold_back()
        last = arena.streams.add_but_last(map(run.design.form, run.load))
        arena.streams.release(last)
        if abandoned:
            arena.streams.hand_to_the_dead(run.load.entries)
        arena.settle_down()
        began_ms = arena.streams.now_ms()
        with _started(arena, run) as team:
            meter = _Meter(arena, team)
            _await_results(arena, team, run.wanted)
            used = meter.used()
            _await_acks(arena)
    results = _verified(arena, run)
    return Measured(
        entries=run.load.entries,
        seconds=_seconds(began_ms, results[-1].at_ms),
        remarks={
            "first result s": _seconds(began_ms, results[0].at_ms),
            "all s": _seconds(began_ms, results[-1].at_ms),
        },
        used=used,
    )


def paced(arena: Arena, run: Run, produce: Callable[[], int]) -> Measured:
    """Measure how long after its entry each result comes, while orders arrive as `produce` adds them.

    It returns how many of the run's orders it has added.
    """
    with _prepared(arena, run), _started(arena, run) as team:
        warm = _warm_up(arena, run, team)
        arena.settle_down()
        _await_ready(arena, run, team)
        meter = _Meter(arena, team)
        began_ms = arena.streams.now_ms()
        run = replace(run, load=replace(run.load, orders=produce()))
        _await_results(arena, team, run.wanted.besides(warm))
        used = meter.used()
        _await_acks(arena)
    results = _verified(arena, run, warm)
    waits = [result.at_ms - result.order_at_ms for result in results if result.order_at_ms is not None]
    return Measured(
        entries=run.load.entries,
        seconds=_seconds(began_ms, results[-1].at_ms),
        latencies_ms=tuple(waits),
        used=used,
    )


@contextmanager
def _prepared(arena: Arena, run: Run) -> Iterator[None]:
    """Clear both servers, and refuse strangers before and after."""
    arena.clear(_tables(arena, run))
    run.prepare()
    yield
    arena.refuse_strangers()


def _warm_up(arena: Arena, run: Run, team: Fleet) -> int:
    """Have every process do some orders, so that connections and statements are ready; return how many.

    They arrive in handfuls, each after the results of the one before: every process gets some.
    """
    _await_ready(arena, run, team)
    handful = HANDFUL * run.workers
    orders = map(run.design.form, Load(orders=HANDFULS * handful, seed=-1 - run.load.seed))
    for number in range(1, HANDFULS + 1):
        arena.streams.add(islice(orders, handful))
        _await_results(arena, team, Wanted(orders=number * handful, results=number * handful))
    _await_acks(arena)
    return HANDFULS * handful


def _await_ready(arena: Arena, run: Run, team: Fleet) -> None:
    """Return once every process waits for entries."""
    _await(lambda: arena.streams.waiting_readers() == run.workers, team, READY_LIMIT_S, "is not ready")


def _await_results(arena: Arena, team: Fleet, wanted: Wanted) -> None:
    """Return once there are as many results and dead letters as there must be."""
    _await(
        lambda: (
            arena.streams.length(RESULTS) >= wanted.results
            and arena.streams.length(LETTERS) >= wanted.letters
        ),
        team,
        BASE_LIMIT_S + wanted.orders / LEAST_RATE,
        "has not finished",
    )


def _await_acks(arena: Arena) -> None:
    """Return once nothing is pending, or something plainly stays so, which the checks then say."""
    deadline = time.monotonic() + ACK_LIMIT_S
    while (arena.streams.pending() or arena.streams.has_unread()) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _verified(arena: Arena, run: Run, warm: int = 0) -> Sequence[Result]:
    """Return the results of a run in order, without the warm-up's. Raises NoFigure if anything is wrong."""
    found, results = arena.found(_tables(arena, run))
    if wrong := faults(run.wanted.besides(warm), found):
        raise NoFigure(f"The run of {run.design.name} does not count: {'; '.join(wrong)}.")
    return results[warm:]


def _started(arena: Arena, run: Run) -> AbstractContextManager[Fleet]:
    urls = run.urls or (arena.redis.url, _tables(arena, run).url)
    return fleet(run.design, run.workers, urls, arena.folder / "logs", _settings(run))


def _settings(run: Run) -> dict[str, str]:
    return {**run.settings, **({} if run.batch is None else {run.design.batch_variable: str(run.batch)})}


def _tables(arena: Arena, run: Run) -> Tables:
    return run.tables or arena.tables


def _await(condition: Callable[[], bool], team: Fleet, within_s: float, complaint: str) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        team.check()
        if time.monotonic() > deadline:
            raise team.failure(f"{complaint} within {within_s:.0f} s")
        time.sleep(POLL_S)


def _seconds(began_ms: int, ended_ms: int) -> float:
    # Redis tells milliseconds: less than one can't be measured.
    return max(ended_ms - began_ms, 1) / 1000
