"""Exact decimals, made from text by moving digits, never through binary floats or a rounding context."""

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import NamedTuple

INTEGER_DIGITS = 20
FRACTION_DIGITS = 30
NO_NUMBER = "is not a decimal number"
# The least amount, and what results of a division are rounded to.
FINEST = Decimal(1).scaleb(-FRACTION_DIGITS)

# Wide enough for the product of two amounts; the default context keeps 28 digits and rounds the rest away.
EXACT = Context(prec=128, rounding=ROUND_HALF_EVEN)

_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?)([0-9]+))?", re.ASCII)
# An exponent of more digits moves every digit out of range, whatever stands before it.
_EXPONENT_DIGITS = 6


class NotExact(ValueError):
    """The text is no decimal number, or one that can't be kept exactly."""


class Digits(NamedTuple):
    """How many digits an amount may have before and after its point."""

    integer: int
    fraction: int

    @property
    def exceeded(self) -> NotExact:
        """What a number of more digits is refused with."""
        return NotExact(f"has more than {self.integer} integer or {self.fraction} fractional digits")


# The columns of the database hold no more.
STORED = Digits(INTEGER_DIGITS, FRACTION_DIGITS)


def canonical(text: str, digits: Digits = STORED) -> str:
    """Return the one plain spelling of a decimal: no exponent, no leading or trailing zeros, no `-0`.

    Keeps every digit. Raises NotExact where the number has more than these digits before or after the
    point once its exponent is applied; the cost is bounded by the length of the text, not by the exponent.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise NotExact(NO_NUMBER)
    sign, whole, fraction, exponent_sign, exponent = match.groups(default="")
    if not whole and not fraction:
        raise NotExact(NO_NUMBER)
    if exponent:
        whole, fraction = _shift(whole, fraction, exponent_sign, exponent.lstrip("0"), digits)
    whole = whole.lstrip("0")
    fraction = fraction.rstrip("0")
    if len(whole) > digits.integer or len(fraction) > digits.fraction:
        raise digits.exceeded
    if not whole and not fraction:
        return "0"
    minus = "-" if sign == "-" else ""
    return f"{minus}{whole or '0'}.{fraction}" if fraction else f"{minus}{whole}"


def _shift(whole: str, fraction: str, sign: str, exponent: str, digits: Digits) -> tuple[str, str]:
    figures = (whole + fraction).lstrip("0")
    if not figures or not exponent:
        return whole, fraction
    point = len(figures) - len(fraction)
    if len(exponent) <= _EXPONENT_DIGITS:
        point += int(f"{sign}{exponent}")
    if len(exponent) > _EXPONENT_DIGITS or not -digits.fraction <= point <= digits.integer:
        raise digits.exceeded
    if point <= 0:
        return "", "0" * -point + figures
    return figures[:point].ljust(point, "0"), figures[point:]


def plain(value: Decimal) -> str:
    """Return the canonical spelling of a finite decimal, so that equal values have equal text."""
    text = str(value)
    if "E" in text:
        text = f"{value:f}"
    if text[-1] == "0" and "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text
