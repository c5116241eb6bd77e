"""Finds the executor of the settings, and how many orders it takes at once."""

import time

from worker.bootstrap.parts.connections import endpoint
from worker.consumer import Drain, Pace
from worker.domain.ports import Executor, is_pure
from worker.execution import load
from worker.settings import Settings

# Orders with outside effects are announced in the database as a group, and go out one at a time: somebody
# else who finds one announced waits before it sends it. So few are announced, even before it is known how
# long a venue takes.
MOST_OUTSIDE = 32


def executor_of(settings: Settings) -> Executor:
    """Return the executor that is set. Raises ConfigurationError."""
    return load(
        settings.executor,
        paper_success_rate=settings.paper_success_rate,
        paper_latency_s=settings.paper_latency_ms / 1000,
        venue=None if settings.venue_url is None else endpoint(settings.venue_url),
        execute_timeout_s=settings.execute_timeout_s,
    )


def pace_of(settings: Settings, executor: Executor, drain: Drain) -> Pace:
    """Return what says how many entries are taken at once."""
    most = settings.batch_size if is_pure(executor) else min(settings.batch_size, MOST_OUTSIDE)
    return Pace(most=most, clock=time.monotonic, leaving=drain.event.is_set)


def close(executor: Executor) -> None:
    """Let an executor go that has something to close."""
    closing = getattr(executor, "close", None)
    if callable(closing):
        closing()
