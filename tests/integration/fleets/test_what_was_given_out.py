"""Reading what was given out marks ours and no more: other fleets publish and bury on the same streams."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.fleets import (
    as_the_version_before_left_it,
    audit,
    delete_marks,
    has_repaired,
    not_to_be_known,
    result_ids,
    small_order,
)
from tests.harness import Deployment, eventually, numbered_orders, take_and_vanish
from tests.inprocess import running
from tests.processes import victim

FEW = 30


def settle(deployment: Deployment, **overrides: Any) -> None:
    with running(deployment, **overrides):
        eventually(deployment.all_settled)


def look_around(deployment: Deployment, **overrides: Any) -> None:
    """Have a replica end its repair and its questions; what nobody can know is published."""
    with running(deployment, **overrides) as made:
        eventually(deployment.all_settled)
        eventually(lambda: has_repaired(deployment, made.names.consumer))
        eventually(lambda: not made.worker.repair.doubts)
    if not_to_be_known(deployment):
        # Before Redis 7.0 nobody counts what was deleted.
        audit(deployment, "--repair", "--republish", **overrides)


def die_before_publishing(deployment: Deployment, tmp_path: Path) -> None:
    """Have a replica commit what is on the stream, and die before it is settled."""
    with victim(deployment, tmp_path, "after COMMIT", "kill") as dying:
        assert dying.wait() == -signal.SIGKILL


def test_orders_have_their_results_when_rows_of_before_of_another_fleet_have_their_entry_ids(
    fleets: tuple[Deployment, Deployment], tmp_path: Path
) -> None:
    """Proves that a result on a shared stream is not taken for ours because its row says no source."""
    first, second = fleets
    second.results = first.results
    ids = first.submit(numbered_orders(FEW))
    settle(first)
    as_the_version_before_left_it(first)
    settle(first)
    second.submit([small_order("b-first")], under=["1-1"])
    die_before_publishing(second, tmp_path)
    second.redis.delete(*second.mark_keys)
    second.submit([small_order(f"b-{i}") for i in range(FEW)], under=ids)
    second.redis.xclaim(
        second.orders, second.group, "gone", 0, ["1-1"], idle=3_600_000, justid=True
    )  # fmt: skip

    look_around(second, batch_size=1)

    published = [order_id for order_id in result_ids(second) if order_id.startswith("b-")]
    assert sorted(published) == sorted(["b-first", *(f"b-{i}" for i in range(FEW))])
    assert second.letters() == []


def test_order_has_its_result_when_another_fleet_buried_an_entry_of_its_id_on_the_same_dead_letters(
    fleets: tuple[Deployment, Deployment], tmp_path: Path
) -> None:
    """Proves that a dead letter marks its own source's entry alone: fleets share `orders:dead` by default."""
    first, second = fleets
    second.dead_letters = first.dead_letters
    ids = first.submit([small_order("a1")])
    second.redis.xadd(second.orders, {"payload": "{junk"}, id=ids[0])
    # Given up with a row, so that the letter says no other mark than the id.
    take_and_vanish(second, 1, deliveries=5)
    die_before_publishing(first, tmp_path)
    settle(second)
    first.redis.xadd(first.results, {"type": "x", "order_id": "x"})
    first.redis.delete(*first.mark_keys)

    look_around(first)

    assert result_ids(first)[1:] == ["a1"]
    _, findings = audit(first)
    assert [each["order_id"] for each in findings] == ["x"]


def test_order_has_its_result_when_its_entry_was_buried_as_a_conflict_and_the_marks_were_deleted(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Proves that the letter of a conflict over an entry id marks itself, not the entry that owns the row."""
    renamed = {"order_id_field": "client_id"}
    deployment.submit([small_order("z")])
    settle(deployment)
    deployment.submit([{**small_order("o1"), "client_id": "c1"}])
    die_before_publishing(deployment, tmp_path)
    settle(deployment, **renamed)
    delete_marks(deployment)

    look_around(deployment, **renamed)

    assert result_ids(deployment) == ["z", "o1"]
    assert [letter["reason"] for letter in deployment.letters()] == [b"conflict"]


@pytest.mark.parametrize("kind", ["undecodable", "conflict"])
def test_entry_is_buried_once_when_it_is_delivered_again_without_marks(
    deployment: Deployment, kind: str
) -> None:
    """Proves that our own letters are found: each says its source, and what its entry was marked as."""
    deployment.submit([small_order("a1")], under=["1-1"])
    settle(deployment)
    if kind == "conflict":
        deployment.redis.delete(deployment.orders)
        deployment.submit([small_order("b1")], under=["1-1"])
    else:
        deployment.redis.xadd(deployment.orders, {"payload": "{junk"})
    settle(deployment)
    delete_marks(deployment, and_the_group=True)

    look_around(deployment)

    (letter,) = deployment.letters()
    assert letter["source"] == deployment.fleet.source.encode()
    assert result_ids(deployment) == ["a1"]
