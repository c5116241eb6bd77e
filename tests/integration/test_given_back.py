"""Entries that their consumers have given back by XNACK, as Redis 8.8 lets them: shown, claimed, executed."""

import json
from typing import Any

import pytest

from tests.commands import command
from tests.given_back import FAIL, FATAL, FATAL_AND_ONE, SILENT, give_back, like_redis_8_8
from tests.harness import (
    Deployment,
    assert_invariants,
    eventually,
    names_of,
    numbered_orders,
    take_and_vanish,
)
from tests.inprocess import committing, running
from worker.stream import PendingEntries, RedisLink

__all__ = ["like_redis_8_8"]

pytestmark = pytest.mark.usefixtures("like_redis_8_8")

COUNTS = [SILENT, FAIL, FATAL, FATAL_AND_ONE]
ORDERS = 3
LONG: dict[str, Any] = {"lease_ms": 600_000}


def given_back(deployment: Deployment, counts: list[int]) -> list[str]:
    """Some orders for each count, given back by whoever had taken them."""
    ids = deployment.submit(numbered_orders(ORDERS * len(counts)))
    take_and_vanish(deployment, len(ids))
    for place, count in enumerate(counts):
        give_back(deployment, ids[ORDERS * place : ORDERS * (place + 1)], count)
    return ids


def test_what_was_given_back_is_executed_at_once_whatever_it_is_charged_with(deployment: Deployment) -> None:
    given_back(deployment, COUNTS)

    with running(deployment, **LONG) as made:
        eventually(deployment.all_settled)

    assert len(deployment.published()) == ORDERS * len(COUNTS)
    assert deployment.letters() == []
    assert_invariants(deployment, made.worker.tally)


def test_what_is_given_back_under_its_owner_has_one_result(deployment: Deployment) -> None:
    ids = deployment.submit(numbered_orders(ORDERS))

    with committing(deployment) as (made, pause):
        give_back(deployment, ids, FATAL)
        made.worker.lease.renew()
        with running(deployment) as second:
            eventually(deployment.all_settled)
            eventually(lambda: second.worker.tally.answered_again == ORDERS)
        pause.go_on.set()

    assert len(deployment.published()) == ORDERS
    assert_invariants(deployment, made.worker.tally, second.worker.tally)


@pytest.mark.parametrize("count", COUNTS)
def test_commands_say_that_nobody_holds_it(deployment: Deployment, count: int) -> None:
    ids = given_back(deployment, [count])

    said = {
        name: command(deployment, *name.split(), **LONG).output
        for name in ("pending", f"show {ids[0]}", "status", "audit")
    }
    found = json.loads(command(deployment, "pending", "--json", **LONG).stdout)["entries"]
    status = json.loads(command(deployment, "status", "--json", **LONG).stdout)

    assert said["pending"].count("nobody, given back  claimable") == ORDERS
    assert "its consumer gave it back" in said[f"show {ids[0]}"]
    assert "untouched" not in said["status"]
    assert status["redis"]["stuck"] == 0
    assert status["redis"]["longest_untouched_s"] is None
    expected = {"consumer": None, "idle_ms": None, "deliveries": count, "claimable": True}
    assert found == [{"entry_id": each, **expected} for each in ids]
    assert "nothing" in said["audit"]


def test_what_was_given_back_is_claimable_already_and_a_replay_leaves_it_so(deployment: Deployment) -> None:
    ids = given_back(deployment, [FATAL, SILENT])

    everything = json.loads(command(deployment, "replay", "--all", "--yes", "--json", **LONG).stdout)
    one = json.loads(command(deployment, "replay", ids[0], "--yes", "--json", **LONG).stdout)

    assert (everything["claimable_already"], everything["made_claimable"]) == (len(ids), 0)
    assert (one["claimable_already"], one["made_claimable"]) == (1, 0)
    assert {each["consumer"] for each in held_by(deployment)} == {b""}


def test_given_back_entry_that_was_shown_to_a_person_is_left_to_whoever_has_it_now(
    deployment: Deployment,
) -> None:
    (entry_id, *_) = given_back(deployment, [FAIL])
    link = RedisLink(deployment.redis_url("operator"), block_ms=10, client_name="t", a_key=deployment.orders)
    listed = PendingEntries(link, names_of(deployment, "asks"), lease_ms=600_000)
    found = [each for each in listed.find([entry_id]) if each]
    deployment.redis.xclaim(deployment.orders, deployment.group, "another", 0, [entry_id], justid=True)

    done = listed.make_claimable(found)
    link.close()

    assert (done.made, done.left) == (0, 1)


def held_by(deployment: Deployment) -> Any:
    return deployment.redis.xpending_range(deployment.orders, deployment.group, "-", "+", 100)
