"""The balance of the demo: what counts as lost, done twice, duplicate."""

from dataclasses import replace

import pytest

from local.demo.balance import Balance, Evidence, Row

# The first comes again as 4-0, and with other content as 5-0; the third is buried and replayed as 6-0.
ENTRIES = (("1-0", "a"), ("2-0", "b"), ("3-0", "c"), ("4-0", "a"), ("5-0", "a"), ("6-0", "c"))
SOUND = Evidence(
    sent=ENTRIES[:5],
    entries=ENTRIES,
    results=(("1-0", "a"), ("2-0", "b"), ("6-0", "c")),
    letters=(("3-0", "c"), ("5-0", "a")),
    rows=(Row("a", "1-0", "FILLED", 1), Row("b", "2-0", "REJECTED", 0), Row("c", "6-0", "FILLED", 1)),
)


def faults(evidence: Evidence) -> list[str]:
    return Balance(evidence).faults(duplicates=1, dead_letters=2)


def test_sound_evidence_is_counted_and_has_no_faults() -> None:
    balance = Balance(SOUND)

    assert faults(SOUND) == []
    assert balance.orders == {"a", "b", "c"}
    assert (balance.results, balance.dead_letters) == (3, 2)
    assert (balance.duplicates, balance.lost, balance.executed_twice) == (["4-0"], [], [])


def test_order_without_a_result_is_lost() -> None:
    evidence = replace(SOUND, results=SOUND.results[1:])

    assert Balance(evidence).lost == ["a"]
    assert "Lost: a has no result, or no row." in faults(evidence)


def test_order_without_a_row_is_lost() -> None:
    evidence = replace(SOUND, rows=SOUND.rows[:2])

    assert faults(evidence) == ["Lost: c has no result, or no row."]


def test_order_that_the_stream_has_no_more_is_lost_by_what_its_producer_remembers() -> None:
    evidence = replace(SOUND, sent=(*SOUND.sent, ("7-0", "d"), ("8-0", "e")))

    assert faults(evidence) == [
        "The stream has no more what was sent as 7-0 and 1 more.",
        "Lost: d and 1 more has no result, or no row.",
    ]


@pytest.mark.parametrize(
    "evidence",
    [
        replace(SOUND, results=(*SOUND.results, ("2-0", "b"))),
        replace(SOUND, rows=(*SOUND.rows, SOUND.rows[1])),
        replace(SOUND, rows=(SOUND.rows[0], Row("b", "2-0", "FILLED", 2), SOUND.rows[2])),
    ],
    ids=["second result", "second row", "second trade"],
)
def test_order_with_a_second_outcome_was_executed_twice(evidence: Evidence) -> None:
    assert Balance(evidence).executed_twice == ["b"]
    assert faults(evidence) == ["Executed twice: b."]


def test_result_of_an_order_that_nobody_sent_is_a_fault() -> None:
    evidence = replace(SOUND, results=(*SOUND.results, ("9-0", "x")))

    assert faults(evidence) == ["There is a result of x, which nobody has sent."]


@pytest.mark.parametrize("row", [Row("b", "2-0", "FILLED", 0), Row("b", "2-0", "REJECTED", 1)])
def test_trade_that_is_missing_or_should_not_be_is_a_fault(row: Row) -> None:
    evidence = replace(SOUND, rows=(SOUND.rows[0], row, SOUND.rows[2]))

    assert faults(evidence) == ["The status of b and its trades do not agree."]


def test_other_counts_than_were_to_be_expected_are_faults() -> None:
    found = Balance(SOUND).faults(duplicates=2, dead_letters=1)

    assert found == [
        "2 duplicates were sent, 1 found.",
        "1 dead letters were to be expected, there are 2.",
    ]
