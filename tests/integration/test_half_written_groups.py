"""Groups as no replica leaves them: set by hand, put back from a copy. Nothing is lost by that."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis

from tests.commands import command
from tests.harness import (
    Deployment,
    assert_invariants,
    eventually,
    names_of,
    numbered_orders,
    take_and_vanish,
)
from tests.inprocess import running
from worker.stream import OrderStream, RedisLink

ORDERS, TAKEN = 12, 4
BEYOND = "99999999999999-0"
MOST = 2**63 - 1
COMMANDS = (("pending",), ("status",), ("audit",), ("replay", "--all", "--dry-run"))


def left(deployment: Deployment) -> list[str]:
    """Orders, the first of which a consumer took and left long ago."""
    ids = deployment.submit(numbered_orders(ORDERS))
    deployment.redis.xgroup_create(deployment.orders, deployment.group, "0")
    take_and_vanish(deployment, TAKEN)
    return ids


def set_id(deployment: Deployment, entry_id: str, read: int | None = None) -> None:
    """Set where the group is, and how much it has read where the server keeps that (from 7.0 on)."""
    plain = ("XGROUP", "SETID", deployment.orders, deployment.group, entry_id)
    asked(deployment, *plain)
    if read is not None:
        with suppress(redis.ResponseError):
            asked(deployment, *plain, "ENTRIESREAD", read)


def asked(deployment: Deployment, *words: str | int) -> Any:
    with redis.Redis.from_url(deployment.servers.redis_url) as client:
        client.response_callbacks.clear()
        return client.execute_command(*words)


def set_stream(deployment: Deployment, *options: str | int) -> None:
    with suppress(redis.ResponseError):
        asked(deployment, "XSETID", deployment.orders, *options)


def restore(deployment: Deployment) -> None:
    """Put the stream back as a copy of itself has it."""
    copy = deployment.redis.dump(deployment.orders)
    assert copy is not None
    deployment.redis.delete(deployment.orders)
    deployment.redis.restore(deployment.orders, 0, copy)


def claim(deployment: Deployment, entry_id: str, consumer: str) -> None:
    """Make an entry pending for a consumer, whether it was delivered or not."""
    key, group = deployment.orders, deployment.group
    deployment.redis.xclaim(key, group, consumer, 0, [entry_id], force=True, idle=3_600_000, justid=True)


def another_group(deployment: Deployment, entry_id: str) -> None:
    deployment.redis.xgroup_create(deployment.orders, "another", entry_id)


CASES: dict[str, Callable[[Deployment, list[str]], object]] = {
    "the group is before what it has pending": lambda it, _: set_id(it, "0"),
    "the group is in the middle of what it has pending": lambda it, ids: set_id(it, ids[1]),
    "nobody knows how much it has read": lambda it, ids: set_id(it, ids[3], -1),
    "it has read more than there ever was": lambda it, ids: set_id(it, ids[3], 50),
    "it has read as much as can be counted": lambda it, ids: set_id(it, ids[3], MOST),
    "it has read nothing, and has entries pending": lambda it, ids: set_id(it, ids[3], 0),
    "a consumer has never done anything": lambda it, _: it.redis.xgroup_createconsumer(
        it.orders, it.group, "idle"
    ),
    "a consumer without a name holds some": lambda it, ids: claim(it, ids[0], ""),
    "an entry is pending that was not delivered yet": lambda it, ids: claim(it, ids[-1], "early"),
    "the last id of the stream is far ahead": lambda it, _: set_stream(it, BEYOND),
    "fewer were added than there are": lambda it, _: set_stream(
        it, BEYOND, "ENTRIESADDED", ORDERS, "MAXDELETEDID", "0-1"
    ),
    "all of it comes from a copy": lambda it, _: restore(it),
    "another group has its place beyond the end": lambda it, _: another_group(it, BEYOND),
    "another group has read nothing": lambda it, _: another_group(it, "0"),
}  # fmt: skip


def say(deployment: Deployment) -> dict[str, str]:
    """Run what shows or audits, none of which may end in a trace; return what each has said."""
    # A transaction may take what the lease lets it.
    done = {each[0]: command(deployment, *each, lease_ms=20_000) for each in COMMANDS}
    assert {name: each.output for name, each in done.items() if each.exit_code not in {0, 1}} == {}
    return {name: each.output for name, each in done.items()}


def retain(deployment: Deployment) -> None:
    """Let go of all that retention lets go of, however young."""
    link = RedisLink(deployment.redis_url(), block_ms=10, client_name="test", a_key=deployment.orders)
    names = names_of(deployment, "retains")
    stream = OrderStream(link, names, lease_ms=1000, results_channel=None, marks_stay_ms=0)
    stream.retain(keep_ms=1, most_results=1)
    link.close()


@pytest.mark.parametrize("case", CASES)
def test_half_written_group_is_shown_audited_trimmed_and_worked_off(
    deployment: Deployment, case: str
) -> None:
    CASES[case](deployment, left(deployment))

    before = say(deployment)
    retain(deployment)
    # Where the stream's last id is that of no entry, this one is what tells that all was read.
    deployment.submit(numbered_orders(ORDERS + 1)[ORDERS:])
    with running(deployment) as made:
        eventually(lambda: len(deployment.published()) == ORDERS + 1 and deployment.pending() == 0)
    retain(deployment)
    deployment.redis.xgroup_destroy(deployment.orders, "another")

    assert "nothing is wrong" in before["audit"]
    assert deployment.letters() == []
    assert made.worker.tally.unexpected == 0
    assert_invariants(deployment, made.worker.tally)


def test_entries_that_a_group_beyond_the_end_will_never_read_are_found_and_executed(
    deployment: Deployment,
) -> None:
    ids = left(deployment)
    set_id(deployment, BEYOND)

    before = say(deployment)
    retain(deployment)
    kept = deployment.redis.xlen(deployment.orders)
    repaired = command(deployment, "audit", "--repair")
    with running(deployment) as made:
        eventually(lambda: len(deployment.published()) == len(ids))

    assert "never" in before["audit"] or "I1" in before["audit"]
    assert kept == len(ids)
    assert repaired.exit_code in {0, 1}
    assert made.worker.tally.unexpected == 0
