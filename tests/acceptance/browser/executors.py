"""An executor that fills orders, but for those whose client says otherwise."""

from worker.domain.orders import Execution, Order
from worker.execution import PaperExecutor


class Staged:
    """Rejects what `rejected` sends, fails at what `poison` sends, and fills the rest."""

    pure = True

    def __init__(self) -> None:
        self._filling = PaperExecutor(success_rate=1.0)
        self._rejecting = PaperExecutor(success_rate=0.0)

    def execute(self, order: Order) -> Execution:
        client = order.labels.client_id
        if client == "poison":
            raise RuntimeError(f"the venue does not know {order.symbol}")
        return (self._rejecting if client == "rejected" else self._filling).execute(order)
