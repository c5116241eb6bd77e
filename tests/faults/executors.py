"""Executors that do to their process what no executor should. Each notes every execution in a file first."""

import os
from pathlib import Path

from worker.domain.orders import Execution, Order
from worker.execution import PaperExecutor

NOTES = "EXECUTIONS_FILE"


class _Noting:
    pure = True

    def __init__(self) -> None:
        self._paper = PaperExecutor()
        self._notes = Path(os.environ[NOTES])

    def execute(self, order: Order) -> Execution:
        if (order.labels.client_id or "").startswith("poison"):
            with self._notes.open("a", encoding="utf-8") as notes:
                notes.write(f"{order.order_id}\n")
            self.fail(order)
        return self._paper.execute(order)

    def fail(self, order: Order) -> None:
        raise NotImplementedError


class Killing(_Noting):
    """Takes the process down."""

    def fail(self, order: Order) -> None:  # noqa: ARG002
        os._exit(9)


class Quoting(_Noting):
    """Raises, and says of whom."""

    def fail(self, order: Order) -> None:
        raise RuntimeError(f"no account of {order.labels.client_id} for {order.order_id}")


class Raising(_Noting):
    """Raises."""

    def fail(self, order: Order) -> None:
        raise RuntimeError(f"no way to execute {order.order_id}")
