"""The worker beside the most that can be done by hand, and without each of its guarantees."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.arena import Arena
from benchmarks.contest import Case, Standing, hold
from benchmarks.designs import LIMIT, WORKER, Design
from benchmarks.measure import Measured, Run, drain
from benchmarks.scenarios.sizes import Sizes, Tell, share_of

LIMIT_AGAIN = replace(LIMIT, name="limit again")


@dataclass(frozen=True)
class Guarantee:
    """What is left out: by patches of the worker, and constraints by their kinds in pg_constraint."""

    name: str
    patches: Sequence[str] = ()
    constraints: str = ""


GUARANTEES = (
    Guarantee("marks", ("marks",)),
    Guarantee("leases", ("leases",)),
    Guarantee("the inbox by entry, and fingerprints", ("fingerprints",), "u"),
    Guarantee("checks, and the look for triggers", ("guard",), "c"),
    Guarantee("the foreign key", (), "f"),
)
_ALL = Guarantee(
    "all of these",
    tuple(patch for each in GUARANTEES for patch in each.patches),
    "".join(each.constraints for each in GUARANTEES),
)
WHOLE = "worker"
# Repair takes a row without a mark for one whose result Redis has lost, and publishes it.
UNREPAIRED = {"WORKER_REPAIR_WINDOW_S": "0"}


def limit(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare the limit with itself, with the worker and with all other designs."""
    orders = sizes.of(80_000, 16_000)
    cases = [
        _beside_the_limit(arena, sizes, design, share_of(design, orders), workers)
        for workers in sizes.workers or (1, 2)
        for design in (LIMIT_AGAIN, *(each for each in sizes.designs if not each.missing))
    ]
    return hold(cases, sizes.turns(7, 2), tell)


def guarantees(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare the worker with itself, and with one that lacks a guarantee, or all of them."""
    orders = sizes.of(80_000, 16_000)
    cases = [
        _without(arena, sizes, orders, WHOLE, Guarantee("")),
        _without(arena, sizes, orders, "worker again", Guarantee("")),
        *(_without(arena, sizes, orders, f"without {each.name}", each) for each in (*GUARANTEES, _ALL)),
    ]
    return hold(cases, sizes.turns(8, 2), tell)


def _beside_the_limit(arena: Arena, sizes: Sizes, design: Design, orders: int, workers: int) -> Case:
    def run(turn: int) -> Measured:
        return drain(arena, Run(design=design, load=sizes.load(orders, turn), workers=workers))

    return Case(name=f"{design.name} w={workers}", against=f"{LIMIT.name} w={workers}", run=run)


def _without(arena: Arena, sizes: Sizes, orders: int, name: str, left_out: Guarantee) -> Case:
    design = WORKER
    if left_out.patches:
        argv = ("-m", "benchmarks.designs.without", ",".join(left_out.patches), "run")
        design = replace(WORKER, name=name.replace(",", ""), argv=argv)

    def run(turn: int) -> Measured:
        with arena.tables.without(left_out.constraints):
            load = sizes.load(orders, turn)
            return drain(arena, Run(design=design, load=load, settings=UNREPAIRED))

    return Case(name=name, against=WHOLE, run=run)
