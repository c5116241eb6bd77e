"""Executes on paper, but for orders whose execution the table of trades refuses."""

from decimal import Decimal

from msgspec.structs import replace

from worker.domain.orders import Execution, Order
from worker.execution import PaperExecutor

REFUSED = "refused"


class Treated:
    """Gives the trades of a refused order no price, which no row can have."""

    pure = True

    def __init__(self) -> None:
        self._paper = PaperExecutor(success_rate=0.8)
        self._filling = PaperExecutor(success_rate=1)

    def execute(self, order: Order) -> Execution:
        if order.labels.client_id != REFUSED:
            return self._paper.execute(order)
        execution = self._filling.execute(order)
        return replace(
            execution, trades=tuple(replace(trade, price=Decimal(0)) for trade in execution.trades)
        )
