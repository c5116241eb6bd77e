"""Turns an order into an execution: the paper and the venue executor, and the registry that finds others."""

from worker.execution.paper import PaperExecutor
from worker.execution.registry import load

__all__ = ["PaperExecutor", "load"]
