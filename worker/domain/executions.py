"""What an executor may say of an order: judged before anything is committed, whoever the executor is."""

from collections.abc import Iterator
from decimal import Decimal

from worker.domain.orders import (
    LONGEST_TRADE_ID,
    WITH_RESULT,
    Execution,
    Order,
    Status,
    Trade,
    UnsoundOrder,
    quantity_of,
)

_AN_AMOUNT = "an amount is a finite Decimal"


def final(execution: object, order: Order | UnsoundOrder) -> Execution:
    """Return what an executor made of an order.

    Raises TypeError where it is no execution, ValueError where it can't be one of this order.
    """
    if not isinstance(execution, Execution):
        raise TypeError(f"the executor returned {type(execution).__name__}, and not an Execution")
    fault = fault_of(execution, order.quantity)
    if fault is not None:
        raise ValueError(f"the executor returned what can't be: {fault}")
    return execution


def fault_of(execution: Execution, ordered: Decimal | None) -> str | None:
    """Return why an execution can't be one of an order of this quantity, None where it can.

    What the table would refuse is refused here, too: here it is known whose fault that is.
    """
    return next(_faults_of(execution, ordered), None)


def _faults_of(execution: Execution, ordered: Decimal | None) -> Iterator[str]:
    status, filled, average = execution.status, execution.filled_quantity, execution.average_price
    trades = execution.trades
    if not (_is_amount(filled) and (average is None or _is_amount(average))):
        yield f"filled_quantity is {filled}, average_price {average}: {_AN_AMOUNT}"
    if status not in WITH_RESULT:
        yield f"an executor can't decide that an order is {status}"
    if (status == Status.FILLED) != (filled > 0):
        yield f"{status} with filled_quantity {filled}: above zero is FILLED, and nothing else is"
    if ordered is not None and filled > ordered:
        yield f"filled_quantity is {filled}, of {ordered} ordered"
    if average is not None and not average > 0:
        yield f"average_price is {average}: it must be above zero, or None"
    for trade in trades:
        yield from _faults_of_trade(trade)
    if filled != (trades[0].quantity if len(trades) == 1 else quantity_of(trades)):
        yield f"filled_quantity is {filled}, and its trades add up to {quantity_of(trades)}"
    if len(trades) > 1 and len({trade.trade_id for trade in trades}) < len(trades):
        yield "two trades have one trade_id"


def _faults_of_trade(trade: Trade) -> Iterator[str]:
    # An index can't hold text of any length.
    if len(trade.trade_id) > LONGEST_TRADE_ID:
        yield f"a trade_id is longer than {LONGEST_TRADE_ID} characters"
    if not (_is_amount(trade.quantity) and _is_amount(trade.price) and _is_amount(trade.commission)):
        yield f"a trade is of {_amounts(trade)}: {_AN_AMOUNT}"
    if not (trade.quantity > 0 and trade.price > 0 and trade.commission >= 0):
        yield f"a trade is of {_amounts(trade)}: the first two must be above zero, and none below"


def _amounts(trade: Trade) -> str:
    return f"quantity {trade.quantity}, price {trade.price}, commission {trade.commission}"


def _is_amount(given: object) -> bool:
    return isinstance(given, Decimal) and given.is_finite()
