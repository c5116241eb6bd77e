"""The page about the environment names every condition."""

from pathlib import Path

from tests.faults.environment import postgres_conditions, redis_conditions
from tests.faults.environment.test_start import REFUSALS

PAGE = Path(__file__).parents[3] / "docs" / "environment.md"


def test_every_condition_has_a_row_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")

    names = [str(each) for each in [*redis_conditions.CONDITIONS, *postgres_conditions.CONDITIONS, *REFUSALS]]

    assert [name for name in names if f"\n| {name} | " not in page] == []
    assert len(names) == len(set(names))
