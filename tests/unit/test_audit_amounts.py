"""An audit adds trades up to the last digit that an amount can have."""

from decimal import Decimal

import pytest

from tests.builders import record, trade
from worker.domain.evidence import Fate, PublishedResult
from worker.domain.orders import OrderRecord
from worker.repair.judgement import Case, of_row

WHOLE = "12345678901234567890.123456789012345678901234567891"
PARTS = ("12345678901234567890", "0.123456789012345678901234567891")
LAST_DIGIT_OFF = "12345678901234567890.123456789012345678901234567892"


def found(row: OrderRecord) -> list[str]:
    case = Case(row, Fate(marked=True), PublishedResult("1-1", b"", 1), None)
    return [finding.invariant for finding in of_row(case)]


@pytest.mark.parametrize(("filled", "findings"), [(WHOLE, []), (LAST_DIGIT_OFF, ["I3"])])
@pytest.mark.parametrize("fills", [(WHOLE,), PARTS], ids=["one trade", "two trades"])
def test_trades_are_added_up_to_the_last_of_fifty_digits(
    fills: tuple[str, ...], filled: str, findings: list[str]
) -> None:
    trades = tuple(trade(f"trade-{n}", quantity=Decimal(fill)) for n, fill in enumerate(fills))

    assert found(record(trades=trades, filled_quantity=Decimal(filled))) == findings
