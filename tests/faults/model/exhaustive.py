"""Every fault at every step of a small world, and every two of them: no chance in it.

Two workers and two entries, all there at the start; or two fleets of one worker, whose entries have the same
ids. Bounds, and why:
- a fault strikes where something is done, and once at each kind of calls that find nothing to do: a call that
  finds nothing a second time is the same call;
- a task goes on until it blocks, but for one other turn at any one pause where there is no fault; random
  histories have any number of turns;
- the faults of one kind differ in when they strike, and last for one length of time.
"""

from collections.abc import Iterator
from itertools import product

from msgspec.structs import replace

from tests.faults.model.history import Make, run
from tests.faults.model.plan import LOSING, Fault, Kind, Plan
from tests.faults.model.world import World

FIRST: tuple[Kind, ...] = ("filled", "rejected", "poison", "undecodable")
SECOND: tuple[Kind, ...] = ("filled", "rejected", "duplicate", "conflict", "poison", "undecodable")
STRIKES = (
    ("dies before", 0.0),
    ("dies after", 0.0),
    ("never arrives", 0.0),
    ("reply lost", 0.0),
    ("arrives late", 1.5),
    ("stops before", 10.5),
    ("stops after", 10.5),
    ("group lost", 0.0),
    ("entry trimmed", 0.0),
    ("drain", 0.0),
    ("hurried drain", 0.0),
)


# What may make one fleet take what is the other's.
STRIKES_OF_FLEETS = (
    ("dies before", 0.0),
    ("dies after", 0.0),
    ("reply lost", 0.0),
    ("arrives late", 1.5),
    ("stops after", 10.5),
    ("marks and group lost", 0.0),
    ("group renamed", 0.0),
)


def small_worlds() -> list[Plan]:
    """Return the worlds without a fault."""
    # With one entry a batch both workers have something to do; in one batch entries share what becomes of it.
    apart: list[tuple[Kind, Kind, int]] = [(one, other, 1) for one, other in product(FIRST, SECOND)]
    together: list[tuple[Kind, Kind, int]] = [("filled", other, 100) for other in SECOND]
    of_one_fleet = [
        Plan(entries=((0.0, one), (0.0, other)), batch_size=batch, preemptions=frozenset())
        for one, other, batch in (*apart, *together)
    ]
    return of_one_fleet + [
        replace(
            of_one_fleet[0],
            entries=((0.0, "filled"), (0.0, other)),
            workers=1,
            fleets=2,
            one_results_stream=shared,
        )
        for other, shared in (("everywhere", False), ("everywhere", True), ("duplicate", False))
    ]


def with_another_fault(plan: Plan, make: Make = World) -> Iterator[Plan]:
    """Yield the plan with each fault at each step after its last one."""
    last = max((fault.step for fault in plan.faults), default=0)
    for step, name in run(plan, make).telling_steps.items():
        for kind, for_s in STRIKES if plan.fleets == 1 else STRIKES_OF_FLEETS:
            if step > last and (name != "execute" or kind not in LOSING):
                # Of two fleets it strikes the one or the other.
                yield replace(
                    plan, faults=(*plan.faults, Fault(step, kind, None, for_s, which=step % plan.fleets))
                )


def with_another_turn(plan: Plan, make: Make = World) -> Iterator[Plan]:
    """Yield the plan with another task's turn at each pause until all is settled."""
    # Poison makes for long waits in which nothing is done.
    most = min(max(run(plan, make).telling_steps), 25)
    for pause in range(1, 2 * most + 1):
        yield replace(plan, preemptions=frozenset({pause}))
