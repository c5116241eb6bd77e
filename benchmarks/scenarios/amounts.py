"""Much of everything: a long backlog, a table that is full already, a lot left behind by a dead replica."""

from dataclasses import replace

from benchmarks.arena import Arena
from benchmarks.contest import Case, Standing, hold
from benchmarks.designs import WORKER, Design
from benchmarks.measure import Measured, Run, drain, restart
from benchmarks.scenarios.sizes import Sizes, Tell
from benchmarks.tables import Tables

USUAL = 40_000


def backlog(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare a long backlog and a short one, ids in order; ids that fall anywhere are another scenario's."""
    many = sizes.of(1_000_000, 50_000)
    few = min(USUAL, max(many // 10, 1))
    cases = []
    for design in sizes.pair:
        usual = f"{design.name}, backlog of {few:,}"
        cases += [
            _drained(arena, sizes, design, few, usual, usual, ids_in_order=True),
            _drained(
                arena, sizes, design, many, f"{design.name}, backlog of {many:,}", usual, ids_in_order=True
            ),
        ]
    return hold(cases, sizes.turns(5, 1), tell)


def full_table(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare a table of orders that holds many rows with an empty one.

    The rows stand in a database of their own. New orders have ids behind all that are there, or ids that fall
    anywhere between them.
    """
    held = sizes.of(10_000_000, 200_000)
    orders = min(USUAL, held) if not sizes.quick else min(10_000, held)
    designs, cases = sizes.pair, []
    tell(f"filling the table with {held:,} rows")
    arena.held.fill(held)
    for design in designs:
        for ids, in_order in (("in order", True), ("anywhere", False)):
            empty = f"{design.name}, ids {ids}, empty table"
            full = f"{design.name}, ids {ids}, {held:,} rows"
            cases += [
                _drained(arena, sizes, design, orders, empty, empty, ids_in_order=in_order),
                _drained(arena, sizes, design, orders, full, empty, arena.held, ids_in_order=in_order),
            ]
    return hold(cases, sizes.turns(5, 1), tell)


def abandoned(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare what a dead replica left pending with as many new orders, from the start of the process on."""
    orders = sizes.of(50_000, 10_000)
    new, left = f"{orders:,} new orders", f"{orders:,} left by a dead replica"
    cases = [
        Case(name=new, against=new, run=lambda turn: _restarted(arena, sizes, orders, turn, abandoned=False)),
        Case(name=left, against=new, run=lambda turn: _restarted(arena, sizes, orders, turn, abandoned=True)),
    ]
    return hold(cases, sizes.turns(5, 1), tell)


def _restarted(arena: Arena, sizes: Sizes, orders: int, turn: int, *, abandoned: bool) -> Measured:
    return restart(arena, Run(design=WORKER, load=sizes.load(orders, turn)), abandoned=abandoned)


def _drained(
    arena: Arena,
    sizes: Sizes,
    design: Design,
    orders: int,
    name: str,
    against: str,
    tables: Tables | None = None,
    *,
    ids_in_order: bool = False,
) -> Case:
    def run(turn: int) -> Measured:
        load = replace(sizes.load(orders, turn), ids_in_order=ids_in_order)
        measured = drain(arena, Run(design=design, load=load, tables=tables))
        # The streams are as long as they get, and are kept until the next run.
        return replace(measured, remarks={"Redis MB": arena.streams.memory_mb()})

    return Case(name=name, against=against, run=run)
