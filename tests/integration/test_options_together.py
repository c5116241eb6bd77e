"""Options that touch the same thing, side by side: which one holds, or that they can't both be meant."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.acceptance.test_audit import delete_result
from tests.acceptance.test_dead_letters import bury
from tests.commands import command
from tests.harness import Deployment, eventually, numbered_orders
from tests.inprocess import running

HOUR_MS = 3_600_000
ORDER = {**numbered_orders(1)[0], "quantity": "1", "timestamp": "5"}


def said(deployment: Deployment, *arguments: str, **overrides: Any) -> Any:
    """What a command prints as JSON."""
    return json.loads(command(deployment, *arguments, "--json", **overrides).stdout)


def last_entry(deployment: Deployment) -> dict[str, str]:
    """What was added last to the orders stream."""
    return {name: value.decode() for name, value in deployment.entries(deployment.orders)[-1][1]}


@pytest.mark.parametrize(
    "options", [("--fresh", "--set", "timestamp=77"), ("--set", "timestamp=77", "--fresh")], ids=" ".join
)
def test_timestamp_that_is_set_wins_over_a_fresh_one(deployment: Deployment, options: Sequence[str]) -> None:
    (letter_id,) = bury(deployment, [ORDER])

    command(deployment, "dead", "replay", letter_id, *options, "--yes")

    assert last_entry(deployment)["timestamp"] == "77"
    closed = said(deployment, "dead", "show", letter_id)["closed"]
    assert closed["changed"] == {"timestamp": ["5", "77"]}
    assert not closed.get("fresh")


def test_several_fields_are_set_at_once_and_fresh_beside_them(deployment: Deployment) -> None:
    (letter_id,) = bury(deployment, [ORDER])

    command(
        deployment, "dead", "replay", letter_id, "--fresh", "--yes", "--set", "quantity=2", "--set", "price=3"
    )

    added = last_entry(deployment)
    assert (added["quantity"], added["price"]) == ("2", "3")
    assert int(added["timestamp"]) > 5
    assert said(deployment, "dead", "show", letter_id)["closed"]["fresh"] is True


@pytest.mark.parametrize(
    "options",
    [
        ("dead", "replay", "1-1", "--set", "quantity=1", "--set", "quantity=2", "--yes"),
        ("dead", "replay", "1-1", "--set", "quantity=1", "--set", "quantity=1", "--dry-run"),
        ("dead", "replay", "1-1", "--all", "--yes"),
        ("dead", "replay", "1-1", "--since", "1h", "--yes"),
        ("dead", "discard", "1-1", "--reason", "failed", "--yes"),
        ("dead", "replay", "--limit", "1", "--yes"),
        ("dead", "discard", "--limit", "1", "--yes"),
        ("dead", "list", "--closed", "--state", "open"),
        ("dead", "list", "--state", "replayed", "--closed"),
        ("dead", "list", "--state", "all", "--closed"),
        ("replay", "--all", "1-1", "--yes"),
        ("replay", "--all", "--consumer", "gone", "--yes"),
        ("replay", "--limit", "1", "--yes"),
        ("replay", "--dry-run"),
        ("audit", "--republish"),
        ("audit", "--dry-run"),
        ("audit", "--republish", "--dry-run"),
    ],
    ids=" ".join,
)
def test_what_can_not_both_be_meant_is_a_usage_error(deployment: Deployment, options: Sequence[str]) -> None:
    bury(deployment, [ORDER])

    done = command(deployment, *options)

    assert done.exit_code == 2
    assert done.stdout == ""
    assert not deployment.redis.exists(f"{deployment.dead_letters}:state")


@pytest.fixture
def letters(deployment: Deployment) -> list[str]:
    """Six letters: two hours old and new; failed, poison; the last two of these discarded and replayed."""
    ids = bury(deployment, [{**ORDER, "order_id": f"o-{number}"} for number in range(4)])
    now_ms = int(ids[0].partition("-")[0])
    old = [f"{now_ms - 2 * HOUR_MS}-{number}" for number in range(2)]
    kept = deployment.entries(deployment.dead_letters)
    deployment.redis.delete(deployment.dead_letters)
    reasons = ["failed", "poison", "failed", "poison", "poison", "failed"]
    for letter_id, reason, fields in zip([*old, *ids], reasons, [*kept[:2], *kept], strict=True):
        named = {**dict(fields[1]), "reason": reason}
        deployment.redis.xadd(deployment.dead_letters, named, id=letter_id)  # type: ignore[arg-type]
    command(deployment, "dead", "discard", ids[2], "--yes")
    command(deployment, "dead", "replay", ids[3], "--yes")
    return [*old, *ids]


@pytest.mark.parametrize(
    ("filters", "which"),
    [
        ((), [0, 1, 2, 3]),
        (("--closed",), [4, 5]),
        (("--closed", "--state", "closed"), [4, 5]),
        (("--state", "discarded", "--reason", "failed"), []),
        (("--state", "all", "--reason", "poison"), [1, 3, 4]),
        (("--state", "all", "--reason", "poison", "--since", "1h"), [3, 4]),
        (("--state", "all", "--reason", "poison", "--reason", "failed", "--limit", "5"), [0, 1, 2, 3, 4]),
        (("--reason", "poison", "--since", "1h", "--limit", "1"), [3]),
        (("--closed", "--reason", "failed", "--since", "1h", "--limit", "9"), [5]),
        (("--since", "1h", "--limit", "2", "--state", "all"), [2, 3]),
    ],
)
def test_letters_are_listed_that_fit_every_filter(
    deployment: Deployment, letters: list[str], filters: Sequence[str], which: list[int]
) -> None:
    wanted = [letters[number] for number in which]

    listed = said(deployment, "dead", "list", *filters)["letters"]
    lines = command(deployment, "dead", "list", *filters).stdout.splitlines()

    assert [each["id"] for each in listed] == wanted
    assert [line.split()[0] for line in lines] == wanted


@pytest.mark.parametrize(
    ("chosen", "which"),
    [
        (("--all", "--reason", "poison"), [1, 3]),
        (("--all", "--since", "1h", "--limit", "1"), [2]),
        (("--reason", "poison", "--since", "1h"), [3]),
        (("--all", "--limit", "3"), [0, 1, 2]),
    ],
)
def test_letters_are_closed_that_fit_every_filter(
    deployment: Deployment, letters: list[str], chosen: Sequence[str], which: list[int]
) -> None:
    wanted = [letters[number] for number in which]

    would = said(deployment, "dead", "replay", *chosen, "--dry-run")
    done = said(deployment, "dead", "discard", *chosen, "--yes")

    assert list(would["would be replayed"]) == list(done["discarded"]) == wanted


def test_limit_takes_the_first_of_the_ids_that_are_named(deployment: Deployment, letters: list[str]) -> None:
    _, _, second, first, *_ = letters

    done = said(deployment, "dead", "discard", first, first, second, "--limit", "1", "--yes")

    assert list(done["discarded"]) == [first]


@pytest.fixture
def held(deployment: Deployment) -> list[str]:
    """Six pending entries: of anna, bert, anna, ...; untouched for 100, 200, ... seconds."""
    ids = deployment.submit([{**ORDER, "order_id": f"o-{number}"} for number in range(6)])
    client = deployment.redis
    client.xgroup_create(deployment.orders, deployment.group, "0")
    client.xreadgroup(deployment.group, "anna", {deployment.orders: ">"})
    for number, entry_id in enumerate(ids):
        consumer, idle_ms = ("anna", "bert")[number % 2], (number + 1) * 100_000
        client.xclaim(deployment.orders, deployment.group, consumer, 0, [entry_id], idle=idle_ms, justid=True)
    return ids


@pytest.mark.parametrize(
    ("filters", "which", "more"),
    [
        (("--consumer", "bert"), [1, 3, 5], False),
        (("--consumer", "bert", "--idle", "350"), [3, 5], False),
        (("--consumer", "bert", "--idle", "350", "--limit", "1"), [3], True),
        (("--consumer", "anna", "--idle", "550"), [], False),
        (("--idle", "350", "--limit", "3"), [3, 4, 5], False),
        (("--limit", "6"), [0, 1, 2, 3, 4, 5], False),
        (("--limit", "5"), [0, 1, 2, 3, 4], True),
    ],
)
def test_pending_entries_are_shown_that_fit_every_filter(
    deployment: Deployment, held: list[str], filters: Sequence[str], which: list[int], *, more: bool
) -> None:
    wanted = [held[number] for number in which]

    shown = said(deployment, "pending", *filters)
    text = command(deployment, "pending", *filters).stdout

    assert [each["entry_id"] for each in shown["entries"]] == wanted
    assert shown["more"] is more
    assert [line.split()[0] for line in text.splitlines() if "-" in line.split(" ")[0]] == wanted
    assert ("... and more" in text) is more


@pytest.mark.parametrize(
    ("ids", "filters", "made", "missing"),
    [
        ([0, 1, 2], ("--consumer", "anna"), [0, 2], [1]),
        ([5, 3, 1], ("--consumer", "bert", "--idle", "350"), [5, 3], []),
        ([5, 3, 1], ("--consumer", "bert", "--idle", "350", "--limit", "1"), [5], []),
        ([4, 4, 0], ("--limit", "1"), [4], []),
        ([], ("--consumer", "anna", "--limit", "2"), [0, 2], []),
        ([], ("--all", "--idle", "450"), [4, 5], []),
        ([], ("--all", "--idle", "150", "--limit", "2"), [1, 2], []),
        ([], ("--idle", "450", "--consumer", "anna"), [4], []),
        # Of all those that were not renewed for half a lease.
        ([], ("--all",), [4, 5], []),
    ],
)
def test_entries_are_made_claimable_that_fit_every_filter(
    deployment: Deployment,
    held: list[str],
    ids: list[int],
    filters: Sequence[str],
    made: list[int],
    missing: list[int],
) -> None:
    named = [held[number] for number in ids]

    done = said(deployment, "replay", *named, *filters, "--yes", lease_ms=1_000_000)

    assert done["not_pending"] == [held[number] for number in missing]
    assert done["matched"] == done["made_claimable"] == len(made)
    now: Any = deployment.redis.xpending_range(
        deployment.orders, deployment.group, min="-", max="+", count=9, idle=1_000_000
    )
    assert [each["message_id"].decode() for each in now] == sorted(held[number] for number in made)


def test_repair_that_is_run_dry_says_what_it_would_give_out_again(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(8))
    with running(deployment):
        eventually(deployment.all_settled)
    delete_result(deployment)

    plain = command(deployment, "audit", "--repair", "--dry-run")
    again = command(deployment, "audit", "--repair", "--dry-run", "--republish")

    assert (plain.exit_code, again.exit_code) == (1, 1)
    assert ": --repair --republish gives it out again" in plain.stdout
    assert "0 mended, 1 left, 0 of them would be mended" in plain.stdout
    assert ": would be published again" in again.stdout
    assert "0 mended, 1 left, 1 of them would be mended" in again.stdout
    assert len(deployment.published()) == 7
