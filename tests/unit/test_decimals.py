"""Decimals are made from text by moving digits: exact, one spelling each, cheap whatever the exponent."""

from decimal import Decimal
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.decimals import FRACTION_DIGITS, INTEGER_DIGITS, NotExact, canonical, plain

digits = st.text("0123456789", max_size=40)
exponents = st.integers(-60, 60)


@st.composite
def spellings(draw: st.DrawFn) -> str:
    whole, fraction = draw(digits), draw(digits)
    text = draw(st.sampled_from(["", "+", "-"])) + whole
    if fraction or draw(st.booleans()):
        text += "." + fraction
    if not whole and not fraction:
        text += "0"
    if draw(st.booleans()):
        text += draw(st.sampled_from("eE")) + draw(st.sampled_from(["", "+"])) + str(draw(exponents))
    return text.replace("+-", "-")


exact = st.builds(
    lambda sign, coefficient, exponent: Decimal((sign, tuple(map(int, str(coefficient))), exponent)),
    st.integers(0, 1),
    st.integers(0, 10**INTEGER_DIGITS - 1),
    st.integers(-FRACTION_DIGITS, 0),
)


def fits(number: Decimal) -> bool:
    """Say independently whether a number has no more digits than may be kept."""
    _, coefficient, exponent = number.as_tuple()
    digits = "".join(map(str, coefficient)).lstrip("0")
    if not digits:
        return True
    significant = digits.rstrip("0")
    lowest = int(exponent) + len(digits) - len(significant)
    return len(digits) + int(exponent) <= INTEGER_DIGITS and -lowest <= FRACTION_DIGITS


@given(text=spellings())
def test_canonical_spelling_equals_the_number_exactly_or_is_refused(text: str) -> None:
    number = Decimal(text)

    try:
        spelled = canonical(text)
    except NotExact:
        assert not fits(number)
    else:
        assert fits(number)
        assert Decimal(spelled) == number


@given(number=exact, exponent=st.integers(0, 12))
def test_every_number_within_the_limits_is_kept_in_any_spelling(number: Decimal, exponent: int) -> None:
    shifted = f"{number.scaleb(exponent):f}e-{exponent}"

    assert Decimal(canonical(str(number))) == number
    assert canonical(shifted) == canonical(str(number)) == canonical(f"{number:f}")


@given(text=spellings())
def test_canonical_spelling_is_its_own(text: str) -> None:
    try:
        spelled = canonical(text)
    except NotExact:
        return

    assert canonical(spelled) == spelled


@given(text=st.text(max_size=30))
def test_any_text_is_a_decimal_or_refused(text: str) -> None:
    try:
        spelled = canonical(text)
    except NotExact:
        return

    assert Decimal(spelled) == Decimal(text)


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("5e-05", "0.00005"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("34727465.10480124", "34727465.10480124"),
        ("7.198913e-06", "0.000007198913"),
        ("1E3", "1000"),
        ("007.50", "7.5"),
        ("+1", "1"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-0", "0"),
        ("-0.000", "0"),
        ("0e999999999", "0"),
        ("1e+0000000000000000000001", "10"),
        ("9" * 20 + "." + "9" * 30, "9" * 20 + "." + "9" * 30),
        ("1e19", "1" + "0" * 19),
        ("1e-30", "0." + "0" * 29 + "1"),
        ("0" * 100 + "1." + "0" * 100, "1"),
    ],
)
def test_known_spellings_are_exact(text: str, spelled: str) -> None:
    assert canonical(text) == spelled


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        "-",
        "+",
        "e5",
        ".e5",
        "NaN",
        "sNaN",
        "Infinity",
        "-inf",
        "1_000",
        " 1",
        "1 ",
        "1\n",
        "0x10",
        "1,5",
        "true",
        "[1]",
        "\u0661",
        "\uff11",
        "1e",
        "1e+",
        "1e1.5",
        "--1",
        "1.2.3",
        "1\0",
    ],
)
def test_text_that_is_no_decimal_is_refused(text: str) -> None:
    with pytest.raises(NotExact, match="is not a decimal number"):
        canonical(text)


@pytest.mark.parametrize(
    "text",
    [
        "1e999",
        "1e20",
        "1e-31",
        "1e999999",
        "1e-999999",
        "1e" + "9" * 5000,
        "1" * 21,
        "0." + "1" * 31,
        "9" * 60_000,
    ],
)
def test_number_beyond_the_limits_is_refused_and_not_rounded(text: str) -> None:
    with pytest.raises(NotExact, match="more than 20 integer or 30 fractional digits"):
        canonical(text)


def test_huge_exponent_costs_nothing() -> None:
    started = process_time()

    for _ in range(1000):
        with pytest.raises(NotExact):
            canonical("1e999999")

    assert process_time() - started < 1


@given(number=exact)
def test_plain_and_canonical_agree(number: Decimal) -> None:
    assert plain(number) == canonical(str(number))


@pytest.mark.parametrize("spelled", ["1000", "1E+3", "1.000E+3", "1000.0", "1000.000"])
def test_equal_numbers_have_one_plain_spelling(spelled: str) -> None:
    assert plain(Decimal(spelled)) == "1000"


@pytest.mark.parametrize("spelled", ["0", "-0", "0.000", "0E-30", "-0E+5"])
def test_zero_has_one_plain_spelling(spelled: str) -> None:
    assert plain(Decimal(spelled)) == "0"
