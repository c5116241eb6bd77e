"""Finds the executor that the settings name."""

from typing import cast

from worker.domain import loading
from worker.domain.endpoints import Endpoint
from worker.domain.errors import ConfigurationError
from worker.domain.ports import Executor
from worker.execution.paper import PaperExecutor


def load(
    name: str,
    *,
    paper_success_rate: float,
    paper_latency_s: float,
    venue: Endpoint | None,
    execute_timeout_s: float,
) -> Executor:
    """Return the executor `paper` or `venue`, or one made by calling `package.module:Name` without arguments.

    Raises ConfigurationError where there is none, or where it neither declares `pure = True` nor offers
    `find`: an order may have been sent before a crash, and somebody must be able to tell.
    """
    if name == "paper":
        return PaperExecutor(success_rate=paper_success_rate, latency_s=paper_latency_s)
    if name == "venue":
        return _venue(venue, execute_timeout_s)
    if not loading.is_name(name):
        raise ConfigurationError(
            f"WORKER_EXECUTOR: {name!r} is neither paper nor venue nor package.module:Name"
        )
    try:
        executor = loading.load(name)()
    except Exception as error:
        why = f"{type(error).__name__}: {error}{loading.way_out(error)}"
        raise ConfigurationError(f"WORKER_EXECUTOR: {name!r} can't be loaded: {why}") from error
    if not callable(getattr(executor, "execute", None)):
        raise ConfigurationError(f"WORKER_EXECUTOR: {name!r} has no execute method")
    if getattr(executor, "pure", False) is not True and not callable(getattr(executor, "find", None)):
        raise ConfigurationError(
            f"WORKER_EXECUTOR: {name!r} must declare pure = True or offer find(order_id): after a crash"
            " an order is either executed again unseen, or its venue is asked for it first"
        )
    return cast("Executor", executor)


def _venue(place: Endpoint | None, timeout_s: float) -> Executor:
    # Nobody else needs an HTTP client.
    from worker.execution.venue import VenueExecutor  # noqa: PLC0415

    if place is None:
        raise ConfigurationError("WORKER_VENUE_URL: is not set, and WORKER_EXECUTOR is venue")
    return VenueExecutor(place, timeout_s=timeout_s)
