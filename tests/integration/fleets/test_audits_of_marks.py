"""An audit of marks: each open question is told and can be decided, each entry asked for by its own mark."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fleets import (
    as_the_version_before_left_it,
    assert_audits_are_clean,
    audit,
    delete_marks,
    deletions_are_told,
    group_is_through,
    has_repaired,
    not_to_be_known,
    result_ids,
    small_order,
)
from tests.harness import Deployment, eventually, numbered_orders
from tests.inprocess import running
from tests.processes import victim
from tests.skips import Reason, skip
from worker.consumer import retention

SETTLED, KEPT = 20, 5


def settle(deployment: Deployment) -> None:
    with running(deployment, batch_size=1):
        eventually(deployment.all_settled)


def look_around(deployment: Deployment, *, told: int = 0) -> None:
    """Have a replica go through all there is, once, until a person is told of so many."""
    with running(deployment) as made:
        eventually(lambda: group_is_through(deployment) and has_repaired(deployment, made.names.consumer))
        eventually(lambda: not_to_be_known(deployment) == told)


def die_before_publishing(deployment: Deployment, tmp_path: Path) -> None:
    """Have a replica commit what is on the stream, and die before it is settled."""
    with victim(deployment, tmp_path, "after COMMIT", "kill") as dying:
        assert dying.wait() == -signal.SIGKILL


def facts(deployment: Deployment) -> list[bytes]:
    """Return what is known of all marks."""
    found: Any = deployment.redis.zrangebyscore(deployment.marks, "+inf", "+inf")
    return list(found)


@pytest.fixture
def doubtful(deployment: Deployment) -> Deployment:
    """Of fifteen orders nobody can know whether their results were published."""
    deployment.submit(numbered_orders(SETTLED))
    settle(deployment)
    deployment.redis.xtrim(deployment.results, maxlen=KEPT, approximate=False)
    delete_marks(deployment, and_the_group=True)
    look_around(deployment, told=SETTLED - KEPT)
    return deployment


@pytest.mark.parametrize("arguments", [["--repair"], ["--repair", "--republish"]])
def test_question_is_told_and_decided_when_results_are_limited(
    doubtful: Deployment, arguments: list[str]
) -> None:
    """Proves that `worker audit` calls nothing out of range that `worker status` says needs a person."""
    limited = {"results_maxlen": KEPT}

    code, findings = audit(doubtful, **limited)
    audit(doubtful, *arguments, **limited)

    assert (code, len(findings)) == (1, SETTLED - KEPT)
    assert not_to_be_known(doubtful) == 0
    assert len(result_ids(doubtful)) == (SETTLED if "--republish" in arguments else KEPT)


@pytest.mark.usefixtures("marks_go_at_once")
def test_question_is_decided_when_retention_has_passed_its_entry(
    doubtful: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that whoever answers is not asked again, although marks of that age have been dropped."""
    monkeypatch.setattr(retention, "EVERY_S", 0.2)
    with running(doubtful, orders_keep_s=1, block_ms=50, lease_ms=1000):
        eventually(lambda: doubtful.redis.xlen(doubtful.orders) <= 1, within=30)
        doubtful.submit([small_order("new")])
        eventually(doubtful.all_settled)
        eventually(lambda: any(each.startswith(b"horizon=") for each in facts(doubtful)), within=30)

    audit(doubtful, "--repair")

    assert not_to_be_known(doubtful) == 0
    assert len(result_ids(doubtful)) == KEPT + 1


def test_question_is_decided_when_its_row_is_gone(doubtful: Deployment) -> None:
    """Proves that nothing in `status` needs a person for ever: the audit names what it has no row for."""
    doubtful.redis.xdel(doubtful.orders, doubtful.rows()["order-0"].entry_id)
    with doubtful.database.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM trades WHERE order_id = 'order-0'")
        connection.exec_driver_sql("DELETE FROM orders WHERE order_id = 'order-0'")

    _, findings = audit(doubtful)
    audit(doubtful, "--repair")

    assert any("its row is gone" in each["what"] for each in findings)
    assert not_to_be_known(doubtful) == 0


def test_repair_publishes_what_nobody_has_looked_for_yet_when_no_result_was_trimmed(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Proves that an audit, which has read all results, takes a question never put for no mystery."""
    deployment.submit(numbered_orders(KEPT))
    settle(deployment)
    if not deletions_are_told(deployment):
        skip(Reason.COUNTS_NOTHING_ADDED)
    (entry_id,) = deployment.submit([small_order("lost")])
    die_before_publishing(deployment, tmp_path)
    delete_marks(deployment)
    deployment.redis.xack(deployment.orders, deployment.group, entry_id)

    audit(deployment, "--repair")
    look_around(deployment)

    assert result_ids(deployment) == [*(f"order-{i}" for i in range(KEPT)), "lost"]
    assert_audits_are_clean([deployment])


def test_repair_publishes_the_result_of_a_row_whose_entry_was_buried_as_a_conflict(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Proves that a conflict's letter is asked for by its own mark: that of the entry is the result's."""
    renamed: dict[str, Any] = {"order_id_field": "client_id"}
    deployment.submit([{**small_order("o1"), "client_id": "c1"}])
    die_before_publishing(deployment, tmp_path)
    with running(deployment, repair_window_s=0, **renamed):
        eventually(deployment.all_settled)

    for _ in range(2):
        audit(deployment, "--repair", **renamed)

    assert result_ids(deployment) == ["o1"]
    assert audit(deployment, **renamed) == (0, [])


def test_audit_says_what_is_true_of_an_entry_whose_letter_was_deleted(deployment: Deployment) -> None:
    """Proves case 1 to its end: what came with the id of another row has no row that could be gone."""
    deployment.submit([small_order("a1")], under=["1-0"])
    settle(deployment)
    deployment.redis.delete(deployment.orders)
    deployment.submit([small_order("b1")], under=["1-0"])
    settle(deployment)
    clean = audit(deployment)
    for letter_id, _ in deployment.entries(deployment.dead_letters):
        deployment.redis.xdel(deployment.dead_letters, letter_id)

    code, (finding,) = audit(deployment, "--repair")

    assert clean == (0, [])
    assert (code, finding["order_id"], finding["remedy"]) == (1, "b1", None)
    assert "came with the id of another" in finding["what"]


@pytest.mark.parametrize("first_is_there", [True, False])
def test_order_whose_row_is_gone_has_one_result_when_a_duplicate_brings_the_row_back(
    deployment: Deployment, *, first_is_there: bool
) -> None:
    """Proves that what has no mark, as it was acked as a duplicate, publishes nothing where a result is."""
    first, _ = deployment.submit([small_order("a1"), small_order("a1")])
    settle(deployment)
    if not first_is_there:
        deployment.redis.xdel(deployment.orders, first)
    with deployment.database.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM trades")
        connection.exec_driver_sql("DELETE FROM orders")

    code, findings = audit(deployment, "--repair")
    settle(deployment)

    assert code == 1
    assert [each["what"] for each in findings if each["remedy"] == "readopt"] == [
        *(["it was settled, but its row is gone"] if first_is_there else []),
        "its order has a result, but the row is gone",
    ]
    assert list(deployment.rows()) == result_ids(deployment) == ["a1"]
    assert audit(deployment) == (0, [])


@pytest.mark.parametrize(("gone", "arguments"), [("out of range", ["--since", "1h"]), ("trimmed", [])])
def test_duplicate_whose_row_is_gone_publishes_nothing_where_nobody_sees_whether_there_is_a_result(
    deployment: Deployment, gone: str, arguments: list[str]
) -> None:
    """Proves that a result which may be there, and is not read, counts as one that is."""
    two_hours_ago_ms = time.time_ns() // 1_000_000 - 7_200_000
    deployment.submit([small_order("a1")], under=[f"{two_hours_ago_ms}-0"])
    settle(deployment)
    ((_, fields),) = deployment.entries(deployment.results)
    deployment.redis.delete(deployment.results)
    result: Any = dict(fields)
    deployment.redis.xadd(deployment.results, result, id=f"{two_hours_ago_ms + 1}-0")
    deployment.submit([small_order("a1")])
    settle(deployment)
    if gone == "trimmed":
        if not deletions_are_told(deployment):
            skip(Reason.COUNTS_NOTHING_ADDED)
        deployment.redis.xdel(deployment.orders, f"{two_hours_ago_ms}-0")
        deployment.redis.xtrim(deployment.results, maxlen=0, approximate=False)
    with deployment.database.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM trades")
        connection.exec_driver_sql("DELETE FROM orders")

    _, findings = audit(deployment, "--repair", *arguments)
    settle(deployment)

    (mended,) = [each["what"] for each in findings if each["remedy"] == "readopt"]
    assert "a result of its order may be gone" in mended
    assert list(deployment.rows()) == ["a1"]
    assert result_ids(deployment) == (["a1"] if gone == "out of range" else [])


def test_audit_reaches_the_end_when_an_entry_has_the_last_id_of_all(deployment: Deployment) -> None:
    """Proves that there is nothing to look for behind it."""
    last = "18446744073709551615-18446744073709551615"
    deployment.submit([small_order("first"), small_order("last")], under=["1-0", last])
    with running(deployment, orders_keep_s=0):
        eventually(deployment.all_settled)

    assert audit(deployment) == (0, [])


@pytest.mark.parametrize("kind", ["unknown", "walk", "repairs", "again"])
def test_source_is_settled_when_another_one_is_called_like_a_key_of_it(
    fleets: tuple[Deployment, Deployment], kind: str
) -> None:
    """Proves that no name of a source reaches what another one keeps beside its marks."""
    first, second = fleets
    second.results = first.results
    second.submit([small_order("b1")])
    with running(second, source=f"x:{kind}"):
        eventually(second.all_settled)
    first.submit([small_order("a1")])

    with running(first, source="x") as made:
        eventually(first.all_settled)
        eventually(lambda: has_repaired(first, made.names.consumer, source="x"))

    assert not_to_be_known(first, source="x") == 0
    assert {f"{first.results}:settled:x", f"{first.results}:settled:x:{kind}"} <= {
        key.decode() for key in first.redis.scan_iter(match=f"{first.results}:*")
    }
    assert audit(first, "--repair", source="x") == (0, [])


def test_rows_of_before_are_told_when_their_entries_and_results_are_gone(deployment: Deployment) -> None:
    """Proves that rows of no source are not passed over silently where nothing else says whose they are."""
    ids = deployment.submit(numbered_orders(KEPT))
    settle(deployment)
    as_the_version_before_left_it(deployment)
    deployment.redis.delete(deployment.results, deployment.marks_of_before)
    deployment.redis.xdel(deployment.orders, *ids[1:])
    look_around(deployment)

    code, findings = audit(deployment)

    assert result_ids(deployment) == ["order-0"]
    assert code == 1
    (told,) = findings
    assert told["what"].startswith(f"{KEPT - 1} rows without a source have no result here")
