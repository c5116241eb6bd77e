"""Watches replicas settle orders, until all is settled or nothing moves any more."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from local.tally import Counts, Queue, Tally

POLL_S = 0.05
# One replica counts once a second, and the others look at that once a second: figures count once they have
# stood through both.
STEADY_S = 2.5
QUIET_LIMIT_S = 15.0
# Entries of a killed replica come back only after its lease.
PENDING_LIMIT_S = 60.0


class Watched(Protocol):
    """What is needed of a replica; `refresh` raises when it is dead."""

    @property
    def counts(self) -> Counts: ...  # noqa: D102  the class says it

    @property
    def queue(self) -> Queue: ...  # noqa: D102  the class says it

    def refresh(self) -> None: ...  # noqa: D102  the class says it


def watch(team: Sequence[Watched], start: Tally, began: float, show: Callable[[int], None]) -> Tally:
    """Return the tally once it is complete and steady, or as it stands when nothing has moved for long.

    `began` is the monotonic time of the start of the submission; `show` is told how many are settled.
    """
    tally = start
    moved = time.monotonic()
    while True:
        now = time.monotonic()
        latest = read(team, tally)
        if latest != tally:
            if latest.total.settled != tally.total.settled:
                latest = replace(latest, seconds=now - began)
            moved, tally = now, latest
            show(tally.total.settled)
        if now - moved > _patience(tally):
            return tally
        time.sleep(POLL_S)


def read(team: Sequence[Watched], tally: Tally) -> Tally:
    """Return the tally by what the replicas say now."""
    for replica in team:
        replica.refresh()
    return replace(
        tally,
        replicas=tuple(replica.counts for replica in team),
        queue=team[0].queue,
    )


def _patience(tally: Tally) -> float:
    if not tally.faults():
        return STEADY_S
    return QUIET_LIMIT_S if tally.queue.is_empty else PENDING_LIMIT_S
