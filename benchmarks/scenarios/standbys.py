"""A standby in another room: what it costs that PostgreSQL waits for it before it says COMMIT."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from benchmarks.arena import Arena
from benchmarks.contest import Case, Standing, hold
from benchmarks.designs import WORKER
from benchmarks.errors import NoFigure
from benchmarks.measure import Measured, Run, drain
from benchmarks.network import far_away
from benchmarks.scenarios.sizes import Sizes, Tell
from local.standby import standby_of

EACH_WAY_MS = 0.5
PATIENCE_S = 20.0
# synchronous_commit where there is somebody to wait for.
WAITS = ("remote_write", "on", "remote_apply")
NOT_WAITED_FOR = "not waited for"
_STATE = "SELECT string_agg(sync_state, ',') FROM pg_stat_replication WHERE state = 'streaming'"


def waited_for(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare each way of waiting for a standby that is a round trip of a millisecond away with none."""
    orders = sizes.of(40_000, 10_000)
    with _followed(arena):
        cases = [_case(arena, sizes, orders, name) for name in (NOT_WAITED_FOR, *WAITS)]
        return hold(cases, sizes.turns(5, 1), tell)


def _case(arena: Arena, sizes: Sizes, orders: int, name: str) -> Case:
    is_waited_for = name in WAITS
    names, commit = ("*", name) if is_waited_for else ("", "on")

    def run(turn: int) -> Measured:
        _configure(arena, synchronous_standby_names=names, synchronous_commit=commit)
        _await(arena, "sync" if is_waited_for else "async")
        return drain(arena, Run(design=WORKER, load=sizes.load(orders, turn)))

    return Case(name=name, against=NOT_WAITED_FOR, run=run)


@contextmanager
def _followed(arena: Arena) -> Iterator[None]:
    with far_away(arena.postgres.url, EACH_WAY_MS, arena.folder / "far-primary.log") as way:
        standby = standby_of(arena.postgres, arena.folder / "standby", way=way)
        try:
            yield
        finally:
            _configure(arena, synchronous_standby_names="", synchronous_commit="on")
            standby.stop()


def _configure(arena: Arena, **settings: str) -> None:
    with psycopg.connect(arena.postgres.url, autocommit=True) as connection:
        for name, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
        connection.execute("SELECT pg_reload_conf()")


def _await(arena: Arena, state: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    with psycopg.connect(arena.postgres.url, autocommit=True) as connection:
        while (row := connection.execute(_STATE.encode()).fetchone()) != (state,):
            if time.monotonic() > deadline:
                raise NoFigure(f"The standby is {row}, not {state}.")
            time.sleep(0.02)
