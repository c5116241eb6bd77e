"""The business rules of an order's fields: which values are usable, and the one spelling of each."""

import re
from collections.abc import Mapping
from decimal import Decimal

from worker.domain.decimals import NO_NUMBER, Digits, NotExact, canonical

SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,31}", re.ASCII)
_SIDES = {"BUY": "BUY", "SELL": "SELL"}
_MISSING = "is missing"
# What a producer reads of the order that was rejected: the rule, since that is what mends it.
_NO_SYMBOL = "is not 1 to 32 characters of A-Z a-z 0-9 . _ : / - with a letter or figure first"
_NOT_GREATER = "is not greater than zero"
# What is sent where there is none, such as an empty text, 0 or `null`, is never taken for that: it may be a
# fault.
_LEFT_OUT = {
    "price": "; a market order has no price: leave it out",
    "stop_loss_pct": "; an order without a stop loss has none: leave it out",
}
_HUNDRED_PERCENT = 100
INTEGER_DIGITS_OF_PERCENT = 3


class Junk(str):
    """The JSON spelling of a value that is neither text nor a number."""

    __slots__ = ()


class Fraction(str):
    """The spelling of a JSON number that is not an integer."""

    __slots__ = ()


class Whole(str):
    """The spelling of a JSON integer."""

    __slots__ = ()


NO_TEXT = (Junk, Fraction, Whole)


def folded(side: str) -> str:
    """Return a side in its one spelling, whether it is usable or not."""
    # Only ASCII is folded: a long s would become an S.
    return side.upper() if side.isascii() else side


def decimal_of(text: str | None) -> Decimal | None:
    """Return the number that a canonical spelling means; None where there is none."""
    return None if text is None else Decimal(text)


class FieldReader:
    """Reads the fields that decide about an order, and notes what is wrong with each, in the order read.

    `canonical` has of each that was read its one spelling, the raw text where it is unusable, None where it
    is absent. The fingerprint is made of it.
    """

    def __init__(self, fields: Mapping[str, str], digits: Digits) -> None:
        self._fields = fields
        self._digits = digits
        self.canonical: dict[str, str | None] = {}
        self.faults: list[str] = []

    def symbol(self) -> str | None:
        """Return the symbol as sent, or None where it is unusable."""
        value = self._fields.get("symbol")
        if value is not None and SYMBOL.fullmatch(value):
            return self._usable("symbol", value)
        self._unusable("symbol", value, _NO_SYMBOL)
        return None

    def side(self) -> str | None:
        """Return BUY or SELL, or None where it is neither."""
        value = self._fields.get("side")
        side = None if value is None else _SIDES.get(folded(value))
        if side is not None:
            return self._usable("side", side)
        self._unusable("side", value, "is neither BUY nor SELL")
        return None

    def amount(self, name: str, *, required: bool = False) -> str | None:
        """Return a decimal greater than zero in its canonical spelling, or None."""
        value = self._fields.get(name)
        if value is None and not required:
            self.canonical[name] = None
            return None
        text, fault = _exact(value, self._digits)
        if text is not None and (text == "0" or text.startswith("-")):
            text, fault = None, _NOT_GREATER
        if text is not None:
            return self._usable(name, text)
        self._unusable(name, value, fault)
        return None

    def percentage(self, name: str) -> str | None:
        """Return a decimal from 0 to 100 in its canonical spelling, or None."""
        value = self._fields.get(name)
        if value is None:
            self.canonical[name] = None
            return None
        text, fault = _exact(value, self._digits)
        if text is not None and not _within_hundred(text):
            text, fault = None, "is not between 0 and 100"
        if text is not None:
            return self._usable(name, text)
        self._unusable(name, value, fault)
        return None

    def _usable(self, name: str, text: str) -> str:
        self.canonical[name] = text
        return text

    def _unusable(self, name: str, value: str | None, fault: str) -> None:
        self.canonical[name] = value
        if fault in {NO_NUMBER, _NOT_GREATER}:
            fault += _LEFT_OUT.get(name, "")
        self.faults.append(f"{name} {fault if value is not None else _MISSING}")


def _exact(value: str | None, digits: Digits) -> tuple[str | None, str]:
    if value is None:
        return None, _MISSING
    if isinstance(value, Junk):
        return None, NO_NUMBER
    try:
        return canonical(value, digits), ""
    except NotExact as fault:
        return None, str(fault)


def _within_hundred(text: str) -> bool:
    whole, _, fraction = text.partition(".")
    if whole.startswith("-"):
        return False
    return int(whole) < _HUNDRED_PERCENT or (int(whole) == _HUNDRED_PERCENT and not fraction)
