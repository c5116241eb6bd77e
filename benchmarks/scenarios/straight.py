"""Orders that are all there, worked off at full speed: by design, by batch size, by number of processes."""

from benchmarks.arena import Arena
from benchmarks.contest import Case, Standing, hold
from benchmarks.designs import REFERENCE, Design
from benchmarks.measure import Measured, Run, drain
from benchmarks.scenarios.sizes import Sizes, Tell, share_of

BATCHES = (1, 10, 50, 100, 250, 500, 1000, 2000)
REPLICAS = (1, 2, 4, 8)
# With small batches most of the orders would only take time.
_FULL_BATCH = 100
_LEAST_SHARE = 40


def designs(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare all designs, each by itself and with a second process."""
    orders = sizes.of(80_000, 16_000)
    cases = [
        _case(arena, sizes, design, share_of(design, orders), workers)
        for workers in sizes.workers or (1, 2)
        for design in sizes.designs
        if workers == 1 or sizes.workers or not sizes.quick or design.share == 1
    ]
    return hold(cases, sizes.turns(7, 2), tell)


def curve(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare the worker with the reference over the batch size."""
    orders = sizes.of(40_000, 8000)
    cases = [
        _case(arena, sizes, design, _orders_at(batch, orders), 1, batch)
        for batch in BATCHES
        for design in sizes.pair
    ]
    return hold(cases, sizes.turns(3, 1), tell)


def replicas(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare one, two, four and eight processes of the worker and of the reference."""
    orders = sizes.of(80_000, 16_000)
    cases = [
        _case(arena, sizes, design, orders, workers)
        for workers in sizes.workers or REPLICAS
        for design in sizes.pair
    ]
    return hold(cases, sizes.turns(5, 1), tell)


def _orders_at(batch: int, orders: int) -> int:
    return orders // max(1, min(_LEAST_SHARE, _FULL_BATCH // batch))


def _case(
    arena: Arena, sizes: Sizes, design: Design, orders: int, workers: int, batch: int | None = None
) -> Case:
    def run(turn: int) -> Measured:
        load = sizes.load(orders, turn)
        return drain(arena, Run(design=design, load=load, workers=workers, batch=batch))

    suffix = f"w={workers}" if batch is None else f"batch {batch}"
    return Case(name=f"{design.name} {suffix}", against=f"{REFERENCE} {suffix}", run=run)
