"""Ids that Redis takes and no calendar has: what reads and shows entries says what it knows, and ends."""

from typing import Any

import pytest

from tests.commands import command
from tests.harness import Deployment, assert_invariants, eventually, names_of, numbered_orders
from tests.inprocess import running

LAST = 2**64 - 1
# Microseconds instead of milliseconds: the year 55840. Then the ends of what an id can be.
IDS = ["0-1", f"5-{LAST}", "1700000000000000-0", f"{LAST}-0", f"{LAST}-{LAST}"]
# What has the look of one, and is none.
NO_IDS = [f"{LAST + 1}-0", f"1-{LAST + 1}", "99999999999999999999-99999999999999999999"]


@pytest.fixture
def odd(deployment: Deployment) -> Deployment:
    """Orders, and what is none, with such ids."""
    for number, entry_id in enumerate(IDS):
        order = numbered_orders(number + 1)[number]
        content = order if number % 2 == 0 else {"payload": "{"}
        deployment.redis.xadd(deployment.orders, content, id=entry_id)  # type: ignore[arg-type]
        deployment.accepted.append(entry_id)
    return deployment


COMMANDS = [
    ("audit",), ("audit", "--json"), ("audit", "--repair"), ("pending",), ("pending", "--json"),
    ("dead", "list"), ("dead", "list", "--json"), ("status",), ("status", "--json"),
    *(("show", entry_id) for entry_id in IDS), ("dead", "show", IDS[-1]), ("replay", IDS[-1], "--dry-run"),
]  # fmt: skip


def test_entries_of_any_id_are_settled_and_every_command_ends_in_words(odd: Deployment) -> None:
    with running(odd):
        eventually(odd.all_settled)

    said = {" ".join(each): command(odd, *each) for each in COMMANDS}

    assert {name: done.output for name, done in said.items() if done.exit_code not in {0, 1}} == {}
    assert said["audit"].exit_code == 0, said["audit"].output
    assert_invariants(odd)


def test_pending_entries_of_any_id_are_shown_claimed_and_settled(odd: Deployment) -> None:
    odd.redis.xgroup_create(odd.orders, odd.group, "0", mkstream=True)
    odd.redis.xreadgroup(odd.group, "gone", {odd.orders: ">"})

    shown = command(odd, "pending")
    replayed = command(odd, "replay", "--all", "--yes")
    with running(odd):
        eventually(odd.all_settled)

    assert (shown.exit_code, replayed.exit_code) == (0, 0), shown.output + replayed.output
    assert all(entry_id in shown.output for entry_id in IDS)
    assert_invariants(odd)


def test_results_and_letters_of_entries_that_no_stream_can_have_cost_nothing(deployment: Deployment) -> None:
    """Proves it for the marks' walk, the look for lost rows, and both commands that read these streams."""
    deployment.submit(numbered_orders(2))
    with running(deployment):
        eventually(deployment.all_settled)
    names = names_of(deployment, "")
    for entry_id in NO_IDS:
        deployment.redis.xadd(names.results, {"order_id": "nobody's", "entry_id": entry_id})
        deployment.redis.xadd(names.dead_letters, {"reason": "poison", "entry_id": entry_id})
    deployment.redis.delete(names.settled, names.looks)
    with deployment.database.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM trades WHERE order_id = 'order-1'")
        connection.exec_driver_sql("DELETE FROM orders WHERE order_id = 'order-1'")

    with running(deployment) as made:
        eventually(lambda: deployment.redis.hget(names.looks, "done") is not None)
        eventually(lambda: deployment.redis.zcard(names.settled) > 0)
        lost: Any = deployment.redis.zrange(names.lost_rows, 0, -1)

    said = [command(deployment, *each) for each in (("audit",), ("audit", "--repair"), ("dead", "list"))]
    assert [member.decode().partition(" ")[2] for member in lost] == ["order-1"]
    assert made.worker.tally.unexpected == 0
    assert {each.exit_code for each in said} <= {0, 1}, [each.output for each in said]
