"""Entries that are not new orders: repeated ones, and what can't be understood."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypedDict

from benchmarks.arena import Arena
from benchmarks.contest import Case, Standing, hold
from benchmarks.designs import Design
from benchmarks.measure import Measured, Run, drain
from benchmarks.scenarios.sizes import Sizes, Tell

# One after every twenty orders: 5 %.
EVERY = 20


def duplicates(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare orders of which every twentieth comes twice with orders that all come once.

    It comes again soon, as a producer's retry does, or at any time, when it has had its row for long.
    """
    orders = sizes.of(40_000, 10_000)
    soon = Mix(repeat_every=EVERY)
    anytime = Mix(repeat_every=EVERY, repeat_within=orders)
    return _mixed(arena, sizes, tell, orders, {"5 % duplicates": soon, "5 % known orders": anytime})


def undecodable(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare orders amid junk with orders alone. The worker buries junk, the reference drops it."""
    orders = sizes.of(40_000, 10_000)
    return _mixed(arena, sizes, tell, orders, {"5 % undecodable": Mix(junk_every=EVERY)})


class Mix(TypedDict, total=False):
    """What comes besides new orders: fields of a load."""

    repeat_every: int
    repeat_within: int
    junk_every: int


def _mixed(arena: Arena, sizes: Sizes, tell: Tell, orders: int, mixes: Mapping[str, Mix]) -> list[Standing]:
    cases = []
    for design in sizes.pair:
        plain = f"{design.name}, new orders only"
        cases.append(_case(arena, sizes, design, orders, plain, plain, Mix()))
        cases += [
            _case(arena, sizes, design, orders, f"{design.name}, {what}", plain, mix)
            for what, mix in mixes.items()
        ]
    return hold(cases, sizes.turns(5, 1), tell)


def _case(arena: Arena, sizes: Sizes, design: Design, orders: int, name: str, against: str, mix: Mix) -> Case:
    def run(turn: int) -> Measured:
        return drain(arena, Run(design=design, load=replace(sizes.load(orders, turn), **mix)))

    return Case(name=name, against=against, run=run)
