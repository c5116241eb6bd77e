"""Finds the executor of the settings, and how many orders it takes at once."""

from worker.bootstrap.connections import endpoint
from worker.consumer.ports import Executor, is_pure
from worker.execution import load
from worker.settings import Settings

# Orders with outside effects go out one at a time, and a drain waits for the group that is begun: at 250 ms an order
# this many are done within the default drain timeout of 8 s.
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


def batch_size_of(settings: Settings, executor: Executor) -> int:
    """Return how many entries are taken at once."""
    return settings.batch_size if is_pure(executor) else min(settings.batch_size, MOST_OUTSIDE)


def close(executor: Executor) -> None:
    """Let an executor go that has something to close."""
    closing = getattr(executor, "close", None)
    if callable(closing):
        closing()
