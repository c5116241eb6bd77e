"""Tells the history of a seed again: python -m tests.faults.model SEED [SEED ...]."""

import sys

from tests.faults.model.history import broken, report, simulation, told
from tests.faults.model.plan import random_plan


def main(seeds: list[str]) -> int:
    """Print what happens with each seed, cut down to what it needs where it fails; return how many fail."""
    failed = 0
    with simulation():
        for seed in map(int, seeds):
            plan = random_plan(seed)
            wrong = bool(broken(plan))
            failed += wrong
            sys.stdout.write((report(plan) if wrong else told(plan)) + "\n")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
