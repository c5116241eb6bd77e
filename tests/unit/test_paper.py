"""Paper execution: an order fills the same way in any process, always possible, always against the taker."""

import subprocess
import sys
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import order
from worker.domain.decimals import FRACTION_DIGITS
from worker.domain.orders import Execution, Side, Status
from worker.execution import PaperExecutor

MOST = Decimal("9" * 20 + "." + "9" * 30)
LEAST = Decimal("1e-30")
amounts = st.decimals(min_value=LEAST, max_value=MOST, places=30) | st.sampled_from(
    [LEAST, MOST, Decimal("1e19")]
)


def test_execution_is_the_same_every_time() -> None:
    made = order("a")

    assert PaperExecutor().execute(made) == PaperExecutor().execute(made)


def test_execution_is_the_same_in_another_process() -> None:
    code = (
        "from tests.builders import order; from worker.execution import PaperExecutor;"
        " print(PaperExecutor().execute(order('a')))"
    )

    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert other.stdout.strip() == str(PaperExecutor().execute(order("a")))


def test_execution_depends_on_the_order_id_and_not_on_the_entry() -> None:
    one, other = (PaperExecutor().execute(order("a", entry_id=entry_id)) for entry_id in ("1-1", "2-2"))

    assert one == other
    assert PaperExecutor().execute(order("b")).trades != one.trades


def test_share_of_orders_that_are_filled_is_the_success_rate() -> None:
    executions = [PaperExecutor(success_rate=0.95).execute(order(f"o-{n}")) for n in range(5000)]

    filled = sum(execution.status is Status.FILLED for execution in executions)
    assert 0.94 < filled / len(executions) < 0.96
    assert {execution.status for execution in executions} == {Status.FILLED, Status.REJECTED}


def test_success_rate_of_one_fills_all_and_of_zero_none() -> None:
    names = [f"o-{n}" for n in range(200)]

    assert all(_fill(name, rate=1).status is Status.FILLED for name in names)
    assert all(_fill(name, rate=0).status is Status.REJECTED for name in names)


def test_rejection_has_a_reason_and_no_effect() -> None:
    rejected = _fill("a", rate=0)

    assert rejected == Execution(Status.REJECTED, error_message="rejected on paper")


def test_buyer_pays_between_a_hundredth_and_five_hundredths_of_a_percent_more() -> None:
    slippages = [_slippage(f"o-{n}", Side.BUY) for n in range(2000)]

    assert min(slippages) >= Decimal("0.0001")
    assert max(slippages) <= Decimal("0.0005")
    assert max(slippages) - min(slippages) > Decimal("0.00039")


def test_seller_gets_between_a_hundredth_and_five_hundredths_of_a_percent_less() -> None:
    slippages = [_slippage(f"o-{n}", Side.SELL) for n in range(2000)]

    assert min(slippages) >= Decimal("-0.0005")
    assert max(slippages) <= Decimal("-0.0001")


def test_order_without_a_price_is_filled_near_the_price_of_its_symbol() -> None:
    known = _fill("a", price=None, symbol="PEPEUSDT").average_price
    unknown = _fill("a", price=None, symbol="XYZ").average_price

    assert known is not None
    assert unknown is not None
    assert Decimal("0.000007") < known < Decimal("0.0000071")
    assert Decimal(100) < unknown < Decimal("100.06")


def test_trade_ids_differ_between_orders() -> None:
    trade_ids = {_fill(f"o-{n}").trades[0].trade_id for n in range(1000)}

    assert len(trade_ids) == 1000


@given(
    name=st.text(min_size=1, max_size=20),
    quantity=amounts,
    price=st.none() | amounts,
    side=st.sampled_from(Side),
)
def test_any_sound_order_is_filled_whole_at_a_possible_price(
    name: str, quantity: Decimal, price: Decimal | None, side: Side
) -> None:
    execution = PaperExecutor(success_rate=1).execute(
        order(name.encode().hex(), quantity=quantity, price=price, side=side)
    )

    (fill,) = execution.trades
    assert execution.status is Status.FILLED
    assert fill.quantity == execution.filled_quantity == quantity
    assert execution.average_price == fill.price
    assert fill.price.is_finite()
    assert fill.price > 0
    assert -int(fill.price.as_tuple().exponent) <= FRACTION_DIGITS
    assert fill.commission.is_finite()
    assert fill.commission >= 0


def test_commission_is_a_tenth_of_a_percent_of_the_amount() -> None:
    (fill,) = _fill("a").trades

    assert abs(fill.commission - fill.price * fill.quantity / 1000) <= Decimal("1e-12")


def _fill(
    name: str,
    *,
    rate: float = 1,
    price: Decimal | None = Decimal(100),
    symbol: str = "BTCUSDT",
    side: Side = Side.BUY,
) -> Execution:
    return PaperExecutor(success_rate=rate).execute(order(name, price=price, symbol=symbol, side=side))


def _slippage(name: str, side: Side) -> Decimal:
    price = _fill(name, side=side).average_price
    assert price is not None
    return price / 100 - 1
