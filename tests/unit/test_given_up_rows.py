"""Why a row was given up: a column says so; in rows of the version before, the head of the error message."""

import pytest
from msgspec.structs import replace

from tests.builders import dead_record


@pytest.mark.parametrize(
    ("column", "message", "given_up_for"),
    [
        ("poison", "poison: x", ("poison", "x")),
        (None, "poison: x", ("poison", "x")),
        (None, "poison: x: y", ("poison", "x: y")),
        (None, None, ("failed", "")),
        ("failed", "poison: x", ("failed", "poison: x")),
        ("failed", "failed: failed: x", ("failed", "failed: x")),
    ],
)
def test_row_tells_why_it_was_given_up_by_its_column_or_else_by_its_message(
    column: str | None, message: str | None, given_up_for: tuple[str, str]
) -> None:
    """Proves that rows of before keep their reason, and no error's text can change one that is known."""
    row = replace(dead_record(), dead_reason=column, error_message=message)

    assert row.given_up_for == given_up_for
