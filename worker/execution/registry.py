"""Finds the executor that the settings name."""

from importlib import import_module
from typing import Protocol, cast

from worker.domain.errors import ConfigurationError
from worker.domain.orders import Execution, Order
from worker.execution.paper import PaperExecutor


class Executor(Protocol):
    """What an executor offers."""

    @property
    def pure(self) -> bool:
        """Whether the same order gives the same execution in any process."""

    def execute(self, order: Order) -> Execution:
        """Execute one order."""


def load(name: str, *, paper_success_rate: float, paper_latency_s: float) -> Executor:
    """Return the executor called `paper`, or make one of `package.module:Name`, called without arguments.

    Raises ConfigurationError where there is none, or where it does not declare `pure = True`: with effects
    outside the transaction, executing an order again after a crash would repeat them.
    """
    if name == "paper":
        return PaperExecutor(success_rate=paper_success_rate, latency_s=paper_latency_s)
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise ConfigurationError(f"WORKER_EXECUTOR: {name!r} is neither paper nor package.module:Name")
    try:
        executor = getattr(import_module(module_name), attribute)()
    except Exception as error:
        raise ConfigurationError(
            f"WORKER_EXECUTOR: {name!r} can't be loaded: {type(error).__name__}: {error}"
        ) from error
    if getattr(executor, "pure", False) is not True or not callable(getattr(executor, "execute", None)):
        raise ConfigurationError(
            f"WORKER_EXECUTOR: {name!r} must have an execute method and declare pure = True"
        )
    return cast("Executor", executor)
