"""The executor that the demo hands to the worker: paper, and one symbol that takes its process down."""

import os
from typing import NoReturn

from local.demo.deadly import DEADLY_SYMBOL, EXIT_CODE
from worker.domain.orders import Execution, Order
from worker.execution import PaperExecutor

# So slow that a replica which is killed has something in hand.
LATENCY_S = 0.02


class DemoExecutor:
    """Fills orders on paper; an order of the deadly symbol ends the process, as a bug in C code would."""

    pure = True

    def __init__(self) -> None:
        self._paper = PaperExecutor(latency_s=LATENCY_S)

    def execute(self, order: Order) -> Execution:
        """Return the execution, or end the process."""
        if order.symbol == DEADLY_SYMBOL:
            _crash()
        return self._paper.execute(order)


def _crash() -> NoReturn:
    os._exit(EXIT_CODE)
