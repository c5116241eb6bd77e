"""The rules of the files become those of a test, and nothing wider."""

import pytest

from tests.least import renamed, wanted

NAMES = {"orders_stream": "t1:orders", "results_stream": "t1:results", "dead_letter_stream": "t1:orders:dead"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("~orders", {"~t1:orders"}),
        ("~orders:*", {"~t1:orders:*"}),
        ("~orders:probe:*", {"~t1:orders:probe:*"}),
        ("~order_results:*", {"~t1:results:*"}),
        ("&orders:bridge:orders", {"&t1:orders:bridge:t1:legacy"}),
        ("&orders", {"&t1:legacy"}),
        ("&results", {"&t1*"}),
        ("+xadd", {"+xadd"}),
        ("-@all", {"-@all"}),
    ],
)
def test_rule_is_about_the_streams_of_the_test(rule: str, expected: set[str]) -> None:
    assert set(renamed(rule, NAMES)) == expected


def test_dead_letters_of_another_name_are_in_the_place_of_those_beside_the_orders() -> None:
    elsewhere = {**NAMES, "dead_letter_stream": "t1:bad"}

    assert set(renamed("~orders:*", elsewhere)) == {"~t1:orders:*", "~t1:bad", "~t1:bad:*"}
    assert set(renamed("~orders", elsewhere)) == {"~t1:orders"}


def test_rights_are_all_or_least() -> None:
    assert [wanted({"RIGHTS": each}) for each in ("", "all", "least")] == [False, False, True]
    with pytest.raises(ValueError, match="RIGHTS is 'none'"):
        wanted({"RIGHTS": "none"})
