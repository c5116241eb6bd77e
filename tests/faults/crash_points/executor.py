"""Executes on paper, but for orders whose trades the database of the stage refuses."""

from msgspec.structs import replace

from worker.domain.orders import Execution, Order
from worker.execution import PaperExecutor

REFUSED = "refused"
# What an execution may say, so that it is refused by nobody but the table, after its order was inserted.
REFUSES = f"ALTER TABLE trades ADD CHECK (trade_id <> '{REFUSED}')"


class Treated:
    """Calls the trade of a refused order what the table is told to refuse."""

    pure = True

    def __init__(self) -> None:
        self._paper = PaperExecutor(success_rate=0.8)
        self._filling = PaperExecutor(success_rate=1)

    def execute(self, order: Order) -> Execution:
        if order.labels.client_id != REFUSED:
            return self._paper.execute(order)
        execution = self._filling.execute(order)
        (trade,) = execution.trades
        return replace(execution, trades=(replace(trade, trade_id=REFUSED),))
