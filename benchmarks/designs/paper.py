"""What all designs by hand have in common: the execution on paper and the fields of a result."""

from datetime import datetime
from decimal import Decimal
from typing import Protocol

from worker.domain.decimals import plain
from worker.domain.orders import Execution, Order, Side
from worker.execution.paper import PaperExecutor

_executor = PaperExecutor()


class ReadOrder(Protocol):
    """A decoded and validated order, however it was decoded."""

    @property
    def order_id(self) -> str: ...  # noqa: D102  the class says it
    @property
    def symbol(self) -> str: ...  # noqa: D102
    @property
    def side(self) -> Side: ...  # noqa: D102
    @property
    def quantity(self) -> Decimal: ...  # noqa: D102
    @property
    def price(self) -> Decimal | None: ...  # noqa: D102
    @property
    def stop_loss_pct(self) -> Decimal | None: ...  # noqa: D102
    @property
    def signal_id(self) -> str | None: ...  # noqa: D102
    @property
    def reason(self) -> str | None: ...  # noqa: D102
    @property
    def timestamp(self) -> str | None: ...  # noqa: D102
    @property
    def strategy_id(self) -> str | None: ...  # noqa: D102
    @property
    def bot_id(self) -> str | None: ...  # noqa: D102
    @property
    def client_id(self) -> str | None: ...  # noqa: D102


def execute(order: ReadOrder) -> Execution:
    """Execute an order by the worker's own executor, so that every design does the same sums."""
    return _executor.execute(
        Order(
            order_id=order.order_id,
            entry_id="",
            fingerprint=b"",
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            price=order.price,
            stop_loss_pct=order.stop_loss_pct,
        )
    )


def result_fields(order: ReadOrder, entry_id: str, execution: Execution, at: datetime) -> dict[str, str]:
    """Return the fields of a result; the same that the worker publishes."""
    fields = {
        "type": "order_result",
        "order_id": order.order_id,
        "entry_id": entry_id,
        "status": execution.status.value,
        "filled_quantity": plain(execution.filled_quantity),
        "timestamp": str(int(at.timestamp())),
        "symbol": order.symbol,
        "side": order.side.value,
        "quantity": plain(order.quantity),
    }
    if execution.average_price is not None:
        fields["price"] = plain(execution.average_price)
        fields["trade_id"] = execution.trades[0].trade_id
    if order.strategy_id is not None:
        fields["strategy_id"] = order.strategy_id
    if order.bot_id is not None:
        fields["bot_id"] = order.bot_id
    if order.client_id is not None:
        fields["client_id"] = order.client_id
    if execution.error_message is not None:
        fields["error_message"] = execution.error_message
    return fields
