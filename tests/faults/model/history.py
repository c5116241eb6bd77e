"""Runs histories, finds the smallest that fails in the same way, and tells it."""

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from msgspec.structs import replace

from tests.faults.model.invariants import violations
from tests.faults.model.plan import Plan
from tests.faults.model.scheduler import simulated_threads
from tests.faults.model.world import World

Make = Callable[[Plan], World]


@contextmanager
def simulation() -> Iterator[None]:
    """Everything a history needs around it: simulated threads, silent logs, chance that is given back."""
    state, configured = random.getstate(), structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False
    )
    try:
        with simulated_threads():
            yield
    finally:
        structlog.configure(**configured)
        random.setstate(state)


def run(plan: Plan, make: Make = World) -> World:
    """Run a history to its end. The same plan gives the same history."""
    # The back-off of an outage has chance in it, too.
    random.seed(plan.seed)
    world = make(plan)
    world.scheduler.run()
    world.decide()
    return world


def broken(plan: Plan, make: Make = World) -> list[str]:
    """Run a history and return what it violates."""
    return violations(run(plan, make))


def shrunk(plan: Plan, make: Make = World) -> Plan:
    """Return a plan that fails too and has no fault or entry that can be left out."""
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(plan):
            if broken(candidate, make):
                plan, smaller = candidate, True
                break
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    for place in range(len(plan.faults)):
        yield replace(plan, faults=plan.faults[:place] + plan.faults[place + 1 :])
    for place in range(len(plan.entries)):
        yield replace(plan, entries=plan.entries[:place] + plan.entries[place + 1 :])
    if plan.workers > 1:
        yield replace(plan, workers=plan.workers - 1)
    if plan.switching:
        yield replace(plan, switching=0.0)


def told(plan: Plan, make: Make = World) -> str:
    """Return who did what in a history, what struck, and what is wrong at its end."""

    def telling(same: Plan) -> World:
        world = make(same)
        world.story = []
        return world

    world = run(plan, telling)
    assert world.story is not None
    return "\n".join([repr(plan), *world.story, *(f"VIOLATED {each}" for each in violations(world))])


def report(plan: Plan, make: Make = World) -> str:
    """Return how to see a failure again, and the smallest history that fails like it."""
    found = broken(plan, make)
    least = shrunk(plan, make)
    return "\n".join(
        [
            f"seed {plan.seed} violates {found}",
            f"again: python -m tests.faults.model {plan.seed}",
            f"without what it does not need ({len(least.faults)} of {len(plan.faults)} faults):",
            told(least, make),
        ]
    )
