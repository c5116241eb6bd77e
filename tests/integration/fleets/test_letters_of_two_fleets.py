"""Dead letters of two fleets on one stream, as is the default: each closes its own, and counts its own."""

import json
from typing import Any

import pytest

from tests.commands import command
from tests.fleets import status
from tests.harness import Deployment, eventually
from tests.inprocess import running

Fleets = tuple[Deployment, Deployment]


@pytest.fixture
def sharing(fleets: Fleets) -> Fleets:
    """Both fleets have buried an entry, the first one two, on the dead letters of the first."""
    first, second = fleets
    second.dead_letters = first.dead_letters
    for fleet, count in ((first, 2), (second, 1)):
        fleet.submit({"payload": f"{{junk {number}"} for number in range(count))
        with running(fleet):
            eventually(fleet.all_settled)
    return fleets


def letters_of(deployment: Deployment, *arguments: str) -> list[dict[str, Any]]:
    """What `worker dead list --json` tells."""
    done = command(deployment, "dead", "list", "--json", *arguments)
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)["letters"]
    return found


@pytest.mark.parametrize("deed", ["replay", "discard"])
@pytest.mark.parametrize("how", [("--yes",), ("--dry-run",)])
def test_letter_of_another_fleet_is_refused_and_left_open(
    sharing: Fleets, deed: str, how: tuple[str, ...]
) -> None:
    first, second = sharing
    (theirs,) = [each["id"] for each in letters_of(first) if each["source"] == second.fleet.source]
    orders = [fleet.entries(fleet.orders) for fleet in sharing]

    done = command(first, "dead", deed, theirs, *how)

    assert done.exit_code == 1
    assert f"{theirs}: it is of another fleet, whose source is '{second.fleet.source}'" in done.stderr
    assert "settings of that fleet" in done.stderr
    assert [fleet.entries(fleet.orders) for fleet in sharing] == orders
    assert [each["state"] for each in letters_of(second)] == ["open"] * 3
    assert command(second, "dead", deed, theirs, *how).exit_code == 0


@pytest.mark.parametrize("deed", ["replay", "discard"])
@pytest.mark.parametrize("chosen", [("--all",), ("--reason", "undecodable"), ("--since", "1h")])
def test_letters_of_other_fleets_are_left_out_of_those_that_are_chosen_by_what_they_are(
    sharing: Fleets, deed: str, chosen: tuple[str, ...]
) -> None:
    first, second = sharing
    theirs = [each["id"] for each in letters_of(first) if each["source"] == second.fleet.source]

    done = json.loads(command(second, "dead", deed, *chosen, "--limit", "1", "--yes", "--json").stdout)

    assert (done["selected"], done["refused"]) == (1, {})
    assert list(done[f"{deed}ed"]) == theirs
    assert len(letters_of(first)) == 2
    assert [fleet.redis.xlen(fleet.orders) for fleet in sharing] == [2, 2 if deed == "replay" else 1]


def test_letters_of_other_fleets_are_listed_and_shown_as_theirs(sharing: Fleets) -> None:
    first, second = sharing

    lines = command(second, "dead", "list").stdout.splitlines()
    theirs = letters_of(second)[0]["id"]
    shown = command(second, "dead", "show", theirs)

    assert [line.endswith(f"of the source {first.fleet.source}") for line in lines] == [True, True, False]
    assert [each["ours"] for each in letters_of(second)] == [False, False, True]
    assert f"it is of another fleet, whose source is '{first.fleet.source}'" in shown.stdout
    assert "worker dead replay" not in shown.stdout
    assert json.loads(command(second, "dead", "show", theirs, "--json").stdout)["ours"] is False


def test_letter_that_says_no_source_is_closed_by_whoever_is_asked(sharing: Fleets) -> None:
    first, second = sharing
    unsourced: Any = first.redis.xadd(first.dead_letters, {"entry_id": "1-1", "reason": "failed"})

    assert command(second, "dead", "discard", unsourced.decode(), "--yes").exit_code == 0


def test_status_counts_the_letters_of_its_own_fleet(sharing: Fleets) -> None:
    told = [status(fleet)[1]["redis"]["letters"] for fleet in sharing]

    assert [(each["open"], each["of_others"]) for each in told] == [
        ({"undecodable": 2}, 1),
        ({"undecodable": 1}, 2),
    ]
