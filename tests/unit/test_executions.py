"""What an executor may say of an order, and how an executor of one's own is tried."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from worker.domain.executions import fault_of
from worker.domain.orders import Execution, Order, Status, Trade
from worker.execution import PaperExecutor
from worker.execution.testing import executed

TWO, SEVEN = Decimal(2), Decimal(7)
FILL = Trade("t-1", TWO, SEVEN, Decimal(0))
LESS = Trade("t-2", Decimal(-1), SEVEN, Decimal(0))
SOUND = Execution(Status.FILLED, TWO, SEVEN, (FILL,))
FIELDS = {"order_id": "a", "symbol": "BTC/USD", "side": "BUY", "quantity": "2", "price": "7"}


@pytest.mark.parametrize(
    "execution",
    [
        SOUND,
        replace(SOUND, average_price=None),
        Execution(Status.FILLED, Decimal(1), SEVEN, (replace(FILL, quantity=Decimal(1)),)),
        Execution(
            Status.FILLED,
            TWO,
            SEVEN,
            (replace(FILL, quantity=Decimal("0.5")), Trade("t-2", Decimal("1.50"), SEVEN, Decimal(1))),
        ),
        Execution(Status.REJECTED, error_message="closed"),
        Execution(Status.ERROR),
    ],
)
def test_execution_that_can_be_one(execution: Execution) -> None:
    assert fault_of(execution, TWO) is None


@pytest.mark.parametrize(
    ("execution", "said"),
    [
        (replace(SOUND, trades=()), "its trades add up to 0"),
        (replace(SOUND, trades=(replace(FILL, quantity=Decimal(1)),)), "its trades add up to 1"),
        (replace(SOUND, filled_quantity=Decimal(3)), "of 2 ordered"),
        (replace(SOUND, filled_quantity=Decimal(0), trades=()), "FILLED with filled_quantity 0"),
        (replace(SOUND, status=Status.REJECTED), "REJECTED with filled_quantity 2"),
        (replace(SOUND, average_price=Decimal(0)), "average_price is 0"),
        (replace(SOUND, average_price=Decimal(-1)), "average_price is -1"),
        (replace(SOUND, trades=(replace(FILL, price=Decimal(0)),)), "price 0"),
        (replace(SOUND, trades=(replace(FILL, commission=Decimal(-1)),)), "commission -1"),
        (
            replace(SOUND, trades=(replace(FILL, quantity=Decimal(1)), replace(FILL, quantity=Decimal(1)))),
            "one trade_id",
        ),
        (
            replace(SOUND, trades=(replace(FILL, quantity=Decimal(3)), replace(FILL, quantity=Decimal(-1)))),
            "quantity -1",
        ),
        (replace(SOUND, trades=(replace(FILL, trade_id="x" * 129),)), "longer than 128"),
        (replace(SOUND, filled_quantity=Decimal("NaN")), "filled_quantity is NaN, average_price 7: an"),
        (replace(SOUND, average_price=Decimal("Infinity")), "average_price Infinity: an amount is a finite"),
        (replace(SOUND, average_price=7.0), "an amount is a finite Decimal"),
        (replace(SOUND, trades=(replace(FILL, price=Decimal("Infinity")),)), "price Infinity, commission"),
        (replace(SOUND, trades=(replace(FILL, commission=Decimal("NaN")),)), "commission NaN: an amount"),
        (replace(SOUND, trades=(replace(FILL, quantity=2),)), "an amount is a finite Decimal"),
        (Execution(Status.SUBMITTED), "can't decide"),
        (Execution(Status.DEAD), "can't decide"),
    ],
)
def test_execution_that_can_not_be_one_says_why(execution: Execution, said: str) -> None:
    assert said in str(fault_of(execution, TWO))


def test_quantity_that_is_not_known_limits_nothing() -> None:
    assert fault_of(SOUND, None) is None


class Mine:
    """Says what it is told to, each time something else where it is told more."""

    pure = True

    def __init__(self, *says: object) -> None:
        self.says = list(says)

    def execute(self, order: Order) -> Execution:
        assert (order.order_id, order.price) == ("a", SEVEN)
        made: Execution = self.says.pop(0)  # type: ignore[assignment]
        return made


def test_executor_is_handed_an_order_as_the_worker_hands_it_over() -> None:
    assert executed(Mine(SOUND, SOUND), **FIELDS) == SOUND
    assert executed(PaperExecutor(success_rate=1.0), **FIELDS).status is Status.FILLED


def test_executor_that_says_nothing_is_told_so() -> None:
    with pytest.raises(TypeError, match="the executor returned NoneType, and not an Execution"):
        executed(Mine(None), **FIELDS)


def test_executor_that_says_what_can_not_be_is_told_so() -> None:
    with pytest.raises(ValueError, match="what can't be: filled_quantity is 2"):
        executed(Mine(replace(SOUND, trades=())), **FIELDS)


def test_executor_that_only_says_that_it_is_pure_is_found_out() -> None:
    other = replace(SOUND, trades=(replace(FILL, trade_id="t-2"),))
    with pytest.raises(AssertionError, match="not the same twice"):
        executed(Mine(SOUND, other), **FIELDS)


@pytest.mark.parametrize(("side", "said"), [("HOLD", "side is neither"), ("", "side")])
def test_fields_that_are_no_order_reach_no_executor(side: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"not executed: .*{said}"):
        executed(Mine(), **{**FIELDS, "side": side})
