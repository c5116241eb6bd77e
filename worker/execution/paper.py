"""Fills orders on paper: a pure function of the order, so that executing one again is invisible."""

import time
from decimal import Decimal
from hashlib import blake2b

from worker.domain.decimals import EXACT, FINEST, FRACTION_DIGITS
from worker.domain.orders import Execution, Order, Side, Status, Trade

COMMISSION_RATE = Decimal("0.001")
COMMISSION_STEP = Decimal("1e-12")

# Slippage in units of 0.00001 %: from 0.01 % to 0.05 %, always against the taker.
_SLIPPAGE_UNIT = Decimal("1e-7")
_UNITS = 10_000_000
_LEAST_SLIPPAGE = 1_000
_SLIPPAGE_RANGE = 4_001
_DRAWS = 1 << 64

REFERENCE_PRICES = {
    "BTCUSDT": Decimal(110_000),
    "ETHUSDT": Decimal(3_900),
    "SOLUSDT": Decimal(190),
    "XRPUSDT": Decimal("2.4"),
    "DOGEUSDT": Decimal("0.2"),
    "PEPEUSDT": Decimal("0.000007"),
}
OTHER_REFERENCE_PRICE = Decimal(100)


class PaperExecutor:
    """Fills a share of orders at their reference price plus slippage, rejects the rest.

    Chance is drawn from the order id alone. The reference price is the order's own, else that of its symbol,
    else 100. Commission is 0.1 % of the amount, in the quote currency.
    """

    pure = True

    def __init__(self, *, success_rate: float = 0.95, latency_s: float = 0.0) -> None:
        self._filled_below = int(success_rate * _DRAWS)
        self._latency_s = latency_s

    def execute(self, order: Order) -> Execution:
        """Return a whole fill with one trade, or a rejection."""
        if self._latency_s:
            time.sleep(self._latency_s)
        draw = blake2b(order.order_id.encode(), digest_size=32).digest()
        if int.from_bytes(draw[:8]) >= self._filled_below:
            return Execution(Status.REJECTED, error_message="rejected on paper")
        price = self._fill_price(order, int.from_bytes(draw[8:16]))
        commission = EXACT.multiply(EXACT.multiply(order.quantity, price), COMMISSION_RATE)
        trade = Trade(
            trade_id=f"paper-{draw[16:].hex()}",
            quantity=order.quantity,
            price=price,
            commission=EXACT.quantize(commission, COMMISSION_STEP),
        )
        return Execution(Status.FILLED, filled_quantity=order.quantity, average_price=price, trades=(trade,))

    def _fill_price(self, order: Order, draw: int) -> Decimal:
        reference = order.price or REFERENCE_PRICES.get(order.symbol, OTHER_REFERENCE_PRICE)
        slippage = _LEAST_SLIPPAGE + draw % _SLIPPAGE_RANGE
        units = _UNITS + slippage if order.side is Side.BUY else _UNITS - slippage
        price = EXACT.multiply(reference, EXACT.multiply(Decimal(units), _SLIPPAGE_UNIT))
        # A price of 30 places has no room for its slippage: rounded, but never to nothing.
        places = -int(price.as_tuple().exponent)
        return price if places <= FRACTION_DIGITS else max(EXACT.quantize(price, FINEST), FINEST)
