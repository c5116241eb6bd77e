"""Entries that are not new orders: repeated ones, and what can't be understood."""

from benchmarks.arena import Arena
from benchmarks.contest import Case, Standing, hold
from benchmarks.designs import Design
from benchmarks.measure import Measured, Run, drain
from benchmarks.scenarios.sizes import Sizes, Tell

# One after every twenty orders: 5 %.
EVERY = 20


def duplicates(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare orders of which every twentieth comes twice with orders that all come once."""
    return _mixed(arena, sizes, tell, "5 % duplicates", repeat_every=EVERY)


def undecodable(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare orders amid junk with orders alone. The worker buries junk, the reference drops it."""
    return _mixed(arena, sizes, tell, "5 % undecodable", junk_every=EVERY)


def _mixed(
    arena: Arena, sizes: Sizes, tell: Tell, what: str, *, repeat_every: int = 0, junk_every: int = 0
) -> list[Standing]:
    orders = sizes.of(40_000, 10_000)
    cases = []
    for design in sizes.pair:
        plain = f"{design.name}, new orders only"
        cases += [
            _case(arena, sizes, design, orders, plain, plain),
            _case(arena, sizes, design, orders, f"{design.name}, {what}", plain, repeat_every, junk_every),
        ]
    return hold(cases, sizes.turns(5, 1), tell)


def _case(
    arena: Arena,
    sizes: Sizes,
    design: Design,
    orders: int,
    name: str,
    against: str,
    repeat_every: int = 0,
    junk_every: int = 0,
) -> Case:
    def run(turn: int) -> Measured:
        load = sizes.load(orders, turn, repeat_every=repeat_every, junk_every=junk_every)
        return drain(arena, Run(design=design, load=load))

    return Case(name=name, against=against, run=run)
