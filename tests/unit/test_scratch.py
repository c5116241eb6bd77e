"""What an audit remembers on disk."""

import sqlite3

import pytest

from worker.domain.errors import ConfigurationError
from worker.domain.evidence import Buried, BuriedEntry, PublishedResult
from worker.store.scratch import scratch


def test_result_is_remembered_with_the_first_of_its_order_and_how_many_came() -> None:
    with scratch() as kept:
        kept.add_results(
            [("a", "1-1", b"x", "9-1-1"), ("b", "2-1", b"y", "9-2-1"), ("a", "3-1", b"z", "9-3-1")]
        )
        kept.make_searchable()

        found = kept.results(["a", "b", "c"])

    assert found == {
        "a": PublishedResult("1-1", b"x", 2, "9-1-1"),
        "b": PublishedResult("2-1", b"y", 1, "9-2-1"),
    }


def test_what_is_added_later_is_found_as_well() -> None:
    with scratch() as kept:
        kept.make_searchable()
        kept.add_results([("a", "1-1", b"x", "9-1-1")])
        buried, conflict = Buried("5-1", "5-1", False, True), Buried("5-1", "5-1:b:0", True, True)
        kept.add_letters([("6-1", buried), ("7-1", buried), ("8-1", conflict)])

        found = kept.results(["a"]), kept.letters(["5-1", "8-1"], conflicts=False)

    assert found == ({"a": PublishedResult("1-1", b"x", 1, "9-1-1")}, {"5-1": BuriedEntry("6-1", 2, "5-1")})


def test_results_that_nobody_asked_for_are_suspects() -> None:
    with scratch() as kept:
        kept.add_results(
            [("a", "1-1", b"x", "9-1-1"), ("b", "2-1", b"y", "9-2-1"), ("b", "3-1", b"y", "9-3-1")]
        )
        kept.make_searchable()
        kept.results(["a"])

        kept.suspect_unseen_results()

        assert list(kept.suspected_orders(10)) == [["b"]]


def test_suspects_come_once_each_and_in_pages() -> None:
    with scratch() as kept:
        kept.suspect_entries(["3-1", "1-1", "2-1", "1-1"])
        kept.suspect_orders(["a"])

        pages = list(kept.suspected_entries(2))

        assert (pages, kept.suspects()) == ([["1-1", "2-1"], ["3-1"]], 4)


def test_full_disk_is_one_line_for_whoever_runs_the_audit() -> None:
    with (
        pytest.raises(ConfigurationError, match="TMPDIR: what was seen can't be kept on disk: disk is full"),
        scratch(),
    ):
        raise sqlite3.OperationalError("disk is full")
