"""What an audit can do where nobody can know whether a result went out."""

import pytest

from tests.builders import record
from worker.domain.evidence import Fate, Marked
from worker.repair.judgement import Case, of_row

INCOMPLETE = Marked(results_since_ms=10**15, letters_since_ms=0)


@pytest.mark.parametrize(
    "fate",
    [Fate(marks=INCOMPLETE), Fate(old=True, unknown=True)],
    ids=["marks of its time are not complete", "marks of its age were dropped, and it is asked"],
)
def test_result_is_taken_for_published_where_it_is_not_to_go_out_again(fate: Fate) -> None:
    (finding,) = of_row(Case(record(), fate, None, None))

    assert finding.remedy_where(republish=True) == "republish"
    assert finding.remedy_where(republish=False) == "mark"


def test_nothing_is_decided_about_a_result_whose_mark_says_that_it_was_published() -> None:
    (finding,) = of_row(Case(record(), Fate(marked=True), None, None))

    assert finding.remedy_where(republish=False) is None
