"""An executor of one's own: WORKER_EXECUTOR=executor:AtTheLimit, with this folder on PYTHONPATH."""

from decimal import Decimal

from worker.domain.orders import Execution, Order, Status, Trade

LOT = Decimal(100)


class AtTheLimit:
    """Fills an order at its own price, in lots of a hundred; what has no price is rejected."""

    # The same order gives the same execution in any process: it may be executed again after a crash.
    pure = True

    def execute(self, order: Order) -> Execution:
        """Return what becomes of an order; its trades add up to what is filled."""
        if order.price is None:
            return Execution(Status.REJECTED, error_message="a limit order needs a price")
        lots, rest = divmod(order.quantity, LOT)
        sizes = [LOT] * int(lots) + [rest] * bool(rest)
        trades = tuple(
            Trade(f"{order.order_id}-{number:04}", size, order.price, Decimal(0))
            for number, size in enumerate(sizes, 1)
        )
        return Execution(Status.FILLED, order.quantity, order.price, trades)
