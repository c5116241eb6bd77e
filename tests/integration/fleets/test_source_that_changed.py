"""A stream whose source has changed: nothing is executed a second time, and nothing silently acked."""

import signal
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.fleets import (
    as_the_version_before_left_it,
    assert_audits_are_clean,
    audit,
    marks,
    result_ids,
    rows,
    small_order,
)
from tests.harness import Deployment, eventually
from tests.inprocess import running
from tests.processes import victim
from worker.domain.errors import ConfigurationError

NAMELESS = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "1"}
ORDERS = pytest.mark.parametrize("order", [small_order("o1"), NAMELESS], ids=["named", "nameless"])


def commit_and_die(deployment: Deployment, tmp_path: Path, **overrides: str) -> None:
    """Have an order executed and committed, and neither published nor acked."""
    with victim(deployment, tmp_path, "after COMMIT", "kill", **overrides) as dying:
        assert dying.wait() == -signal.SIGKILL


@ORDERS
def test_replica_refuses_a_stream_that_was_moved_without_its_token_when_its_source_is_not_set(
    deployment: Deployment, tmp_path: Path, order: dict[str, str]
) -> None:
    """Proves that what another source executed tells what the stream was; with its source set it goes on."""
    deployment.submit([order])
    commit_and_die(deployment, tmp_path, source="here")
    deployment.redis.delete(f"{deployment.orders}:token")

    with pytest.raises(ConfigurationError, match="set WORKER_SOURCE=here"), running(deployment):
        pass
    with running(deployment, source="here") as made:
        eventually(deployment.all_settled)

    assert made.worker.tally.answered_again == 1
    assert len(rows(deployment)) == len(result_ids(deployment)) == 1
    assert_audits_are_clean([deployment], source="here")


@ORDERS
def test_replica_refuses_an_orders_stream_that_was_renamed_when_its_source_is_not_set(
    deployment: Deployment, tmp_path: Path, order: dict[str, str]
) -> None:
    """Proves the same of RENAME: the default source is the name."""
    deployment.submit([order])
    commit_and_die(deployment, tmp_path)
    source, renamed = deployment.fleet.source, f"{deployment.orders}-v2"
    deployment.redis.rename(deployment.orders, renamed)
    deployment.orders = renamed

    with pytest.raises(ConfigurationError, match=f"set WORKER_SOURCE={source}"), running(deployment):
        pass

    assert len(rows(deployment)) == 1
    assert result_ids(deployment) == []


def test_second_source_on_a_stream_is_refused_when_redis_lost_the_token(deployment: Deployment) -> None:
    """Proves that two sources never execute the same entries, and that the first can go on afterwards."""
    deployment.submit([small_order("o1")])
    with running(deployment, source="one"):
        eventually(deployment.all_settled)
        deployment.redis.delete(f"{deployment.orders}:token")
        with (
            pytest.raises(ConfigurationError, match="set WORKER_SOURCE=one"),
            running(deployment, source="two"),
        ):
            pass

    with running(deployment, source="one"):
        deployment.submit([small_order("o2")])
        eventually(deployment.all_settled)

    assert result_ids(deployment) == ["o1", "o2"]


def test_entry_that_another_source_executed_is_a_conflict_when_it_comes_again(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Proves that it is not acked as a duplicate: whether it has a result nobody has looked."""
    (entry_id,) = deployment.submit([small_order("o1")])
    commit_and_die(deployment, tmp_path, source="here")
    deployment.redis.set(f"{deployment.orders}:token", "as if this were another stream")

    with running(deployment) as made:
        eventually(deployment.all_settled)

    assert made.worker.tally.duplicate == 0
    (letter,) = deployment.letters()
    assert (letter["reason"], letter["entry_id"]) == (b"conflict", entry_id.encode())
    assert b"'here'" in letter["error"]
    assert len(rows(deployment)) == 1


@pytest.mark.parametrize("comes", ["pending", "to a new group"])
def test_order_without_an_id_is_not_executed_again_when_the_source_is_set_after_an_upgrade(
    deployment: Deployment, tmp_path: Path, comes: str
) -> None:
    """Proves that the version before, which named orders after the stream, is answered under any source."""
    (entry_id,) = deployment.submit([NAMELESS])
    commit_and_die(deployment, tmp_path)
    with deployment.database.transaction() as connection:
        connection.execute(text("UPDATE orders SET source = ''"))
        connection.execute(text("DELETE FROM order_sources"))
    deployment.redis.delete(f"{deployment.orders}:token", *marks(deployment))
    if comes == "to a new group":
        deployment.redis.xgroup_destroy(deployment.orders, deployment.group)

    with running(deployment, source="venue-a"):
        eventually(deployment.all_settled)
        eventually(lambda: deployment.redis.xlen(deployment.results) > 0)

    assert [row.order_id for row in rows(deployment)] == [f"{deployment.fleet.source}:{entry_id}"]
    assert result_ids(deployment) == [f"{deployment.fleet.source}:{entry_id}"]
    assert deployment.letters() == []
    assert_audits_are_clean([deployment], source="venue-a")


@pytest.mark.parametrize("what", ["trimmed", "undecodable"])
def test_row_without_a_source_does_not_answer_for_an_entry_that_names_no_order_when_there_are_other_sources(
    fleets: tuple[Deployment, Deployment], what: str
) -> None:
    """Proves that another fleet's row is not published for an entry of which nobody knows what it was."""
    first, second = fleets
    (entry_id,) = first.submit([small_order("a1")])
    with running(first):
        eventually(first.all_settled)
    as_the_version_before_left_it(first)
    with running(first):
        eventually(first.all_settled)
    fields = {"payload": "{junk"} if what == "undecodable" else small_order("b1")
    second.redis.xadd(second.orders, fields, id=entry_id)  # type: ignore[arg-type]
    second.redis.xgroup_create(second.orders, second.group, "0")
    second.redis.xreadgroup(second.group, "gone", {second.orders: ">"})
    second.redis.xclaim(second.orders, second.group, "gone", 0, [entry_id], idle=60_000, justid=True)
    if what == "trimmed":
        second.redis.xdel(second.orders, entry_id)

    with running(second):
        eventually(lambda: second.pending() == 0 and second.redis.xlen(second.dead_letters) == 1)

    assert result_ids(second) == []
    assert [letter["reason"] for letter in second.letters()] == [what.encode()]


def test_audit_names_an_undecodable_entry_without_a_letter_when_a_row_without_a_source_has_its_id(
    fleets: tuple[Deployment, Deployment],
) -> None:
    """Proves the same of audits: acked without row or letter, though somebody has a row of that entry id."""
    first, second = fleets
    (entry_id,) = first.submit([small_order("a1")])
    with running(first):
        eventually(first.all_settled)
    as_the_version_before_left_it(first)
    with running(first):
        eventually(first.all_settled)
    second.redis.xadd(second.orders, {"payload": "{junk"}, id=entry_id)
    second.redis.xgroup_create(second.orders, second.group, "0")
    second.redis.xreadgroup(second.group, "gone", {second.orders: ">"})
    second.redis.xack(second.orders, second.group, entry_id)

    code, findings = audit(second)

    assert code == 1
    assert entry_id in [each["entry_id"] for each in findings]
