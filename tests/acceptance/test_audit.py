"""`worker audit` as a person runs it: silent if nothing is wrong; each invariant broken by hand is named."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from tests.acceptance.test_commands import worker
from tests.harness import Deployment, eventually, numbered_orders, take_and_vanish
from tests.inprocess import running
from worker.bootstrap.audit import Wish, audit_of

MIXED: list[dict[str, str]] = [
    *numbered_orders(30),
    {"order_id": "order-3", **{k: v for k, v in numbered_orders(4)[3].items() if k != "order_id"}},
    {**numbered_orders(1)[0], "order_id": "order-1", "quantity": "77"},
    {**numbered_orders(1)[0], "order_id": "order-r", "quantity": "0"},
    {"payload": "{not json"},
]


# What is made pending again is idle for this lease, and so claimable by replicas with a shorter one.
PATIENT = {"lease_ms": "5000", "transaction_timeout_s": "4"}


@pytest.fixture
def settled(deployment: Deployment) -> Deployment:
    """Thirty orders, a duplicate, a conflict, a rejected one and one that is no order, all done with."""
    deployment.submit(MIXED)
    with running(deployment):
        eventually(deployment.all_settled)
    return deployment


def audited(
    deployment: Deployment, *arguments: str, **overrides: str
) -> tuple[int, list[dict[str, Any]], Any]:
    """Run an audit; return its exit code, its findings and its summary."""
    done = worker(deployment, "audit", "--json", *arguments, **PATIENT | overrides)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines, done.stderr
    return (
        done.returncode,
        [line["finding"] | {"mended": line["mended"]} for line in lines[:-1]],
        lines[-1]["summary"],
    )


def result_of(deployment: Deployment, order_id: str) -> tuple[str, list[tuple[str, bytes]]]:
    (found,) = (
        each for each in deployment.entries(deployment.results) if ("order_id", order_id.encode()) in each[1]
    )
    return found


def delete_result(deployment: Deployment) -> None:
    deployment.redis.xdel(deployment.results, result_of(deployment, "order-7")[0])


def double_result(deployment: Deployment) -> None:
    _, fields = result_of(deployment, "order-7")
    deployment.redis.xadd(deployment.results, dict(fields))


def alter_result(deployment: Deployment) -> None:
    result_id, fields = result_of(deployment, "order-7")
    deployment.redis.xdel(deployment.results, result_id)
    deployment.redis.xadd(deployment.results, {**dict(fields), "filled_quantity": "1e9"})


def delete_row(deployment: Deployment) -> None:
    with deployment.database.transaction() as connection:
        connection.execute(text("DELETE FROM trades WHERE order_id = 'order-7'"))
        connection.execute(text("DELETE FROM orders WHERE order_id = 'order-7'"))


def alter_trade(deployment: Deployment) -> None:
    with deployment.database.transaction() as connection:
        connection.execute(text("UPDATE trades SET quantity = quantity * 2 WHERE order_id = 'order-7'"))


def ack_by_hand(deployment: Deployment) -> None:
    (entry_id,) = deployment.submit([{**numbered_orders(1)[0], "order_id": "order-acked"}])
    take_and_vanish(deployment, 1)
    deployment.redis.xack(deployment.orders, deployment.group, entry_id)


def delete_letter(deployment: Deployment) -> None:
    letter_id = deployment.entries(deployment.dead_letters)[0][0]
    deployment.redis.xdel(deployment.dead_letters, letter_id)


def lose_marks(deployment: Deployment) -> None:
    deployment.redis.delete(*deployment.mark_keys)


def submit_and_forget(deployment: Deployment) -> None:
    with deployment.database.transaction() as connection:
        connection.execute(text("DELETE FROM trades WHERE order_id = 'order-7'"))
        connection.execute(
            text(
                "UPDATE orders SET status = 'SUBMITTED', filled_quantity = 0, average_price = NULL"
                " WHERE order_id = 'order-7'"
            )
        )


def submit_and_lose(deployment: Deployment) -> None:
    entry_id = deployment.rows()["order-7"].entry_id
    submit_and_forget(deployment)
    deployment.redis.xdel(deployment.orders, entry_id)


def bury_beside_its_row(deployment: Deployment) -> None:
    entry_id = deployment.rows()["order-7"].entry_id
    deployment.redis.xadd(deployment.dead_letters, {"entry_id": entry_id, "reason": "poison"})


def test_nothing_is_found_where_nothing_is_wrong(settled: Deployment) -> None:
    code, findings, summary = audited(settled)

    assert (code, findings) == (0, [])
    seen = summary["seen"]
    assert (seen["orders"], seen["rows"], seen["results"], seen["letters"]) == (34, 31, 31, 2)
    assert (seen["duplicates"], seen["in_flight"]) == (1, 0)


@pytest.mark.parametrize(
    ("breaking", "invariants", "words"),
    [
        (delete_result, ["I4"], "was published once and is gone"),
        (double_result, ["I4"], "2 results were published"),
        (alter_result, ["I5"], "differs from its row in: filled_quantity"),
        (delete_row, ["I1", "I4"], "its row is gone"),
        (alter_trade, ["I3"], "its trades add up to"),
        (ack_by_hand, ["I1"], "acked without a row or a dead letter"),
        (delete_letter, ["I1"], "has no dead letter"),
        (lose_marks, ["I2", "I4"], "its settled mark is gone"),
        (submit_and_forget, ["I1", "I4"], "nobody holds its entry"),
        (submit_and_lose, ["I1", "I4"], "its entry is gone: ask the venue"),
        (bury_beside_its_row, ["I2"], "but its entry was buried"),
    ],
)
def test_what_was_broken_by_hand_is_named(
    settled: Deployment, breaking: Callable[[Deployment], None], invariants: list[str], words: str
) -> None:
    breaking(settled)

    code, findings, summary = audited(settled)

    assert code == 1
    assert sorted({each["invariant"] for each in findings}) == invariants
    assert any(words in each["what"] for each in findings)
    assert sum(summary["findings"].values()) == len(findings)
    if breaking not in {lose_marks, ack_by_hand, delete_letter}:
        assert "order-7" in {each["order_id"] for each in findings}


@pytest.mark.parametrize(
    "breaking", [delete_row, ack_by_hand, lose_marks], ids=lambda breaking: breaking.__name__
)
def test_what_can_be_mended_is_whole_again_after_a_repair(
    settled: Deployment, breaking: Callable[[Deployment], None]
) -> None:
    breaking(settled)
    before = len(settled.published())

    _, repaired, _ = audited(settled, "--repair")
    with running(settled):
        eventually(settled.all_settled)
    code, findings, _ = audited(settled)

    assert any(each["mended"] for each in repaired)
    assert (code, findings) == (0, [])
    assert len(settled.published()) == before + (breaking is ack_by_hand)


def test_rows_that_are_dated_ahead_are_seen(settled: Deployment) -> None:
    """Proves it where the clock of PostgreSQL was set back, or leads to a standby whose clock is behind."""
    date_ahead(settled, "order-7")
    delete_result(settled)

    code, (finding,), _ = audited(settled)

    assert (code, finding["order_id"], finding["invariant"]) == (1, "order-7", "I4")


def test_replica_publishes_what_is_lost_of_rows_that_are_dated_ahead(settled: Deployment) -> None:
    date_ahead(settled, "order-7")
    settled.redis.delete(*settled.all_keys())

    with running(settled):
        eventually(lambda: len(settled.published()) >= 31, within=30)

    assert sorted(each["order_id"] for each in settled.published()) == sorted(settled.rows())


def date_ahead(deployment: Deployment, order_id: str) -> None:
    with deployment.database.transaction() as connection:
        ahead = text("UPDATE orders SET recorded_at = recorded_at + interval '1 hour' WHERE order_id = :id")
        connection.execute(ahead, {"id": order_id})
        # Only one stream is seen.
        connection.execute(text("DELETE FROM order_sources"))


def test_deleted_result_goes_out_again_only_when_that_is_asked_for(settled: Deployment) -> None:
    delete_result(settled)
    lost = settled.rows()["order-7"]

    first, left, _ = audited(settled, "--repair")
    second, mended, _ = audited(settled, "--repair", "--republish")
    third, none, _ = audited(settled, "--repair", "--republish")

    assert (first, [each["mended"] for each in left]) == (1, [False])
    assert (second, [each["mended"] for each in mended]) == (0, [True])
    assert (third, none) == (0, [])
    assert dict(result_of(settled, "order-7")[1])["entry_id"].decode() == lost.entry_id


def lasting_keys(deployment: Deployment) -> list[bytes]:
    """Return the keys that don't go by themselves, as turns of the replicas do."""
    found: Any = deployment.all_keys()
    return sorted(each for each in found if deployment.redis.ttl(each) == -1)


def test_dry_run_says_what_it_would_do_and_changes_nothing(settled: Deployment) -> None:
    lose_marks(settled)
    keys = lasting_keys(settled)

    said = worker(settled, "audit", "--repair", "--dry-run")

    assert said.returncode == 1
    assert ": would be marked" in said.stdout
    assert lasting_keys(settled) == keys


def test_what_is_pending_undelivered_or_not_yet_published_is_no_finding(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(20))
    take_and_vanish(deployment, 10)

    code, findings, summary = audited(deployment)

    assert (code, findings, summary["seen"]["in_flight"]) == (0, [], 20)


def test_since_leaves_out_what_entered_before(settled: Deployment) -> None:
    delete_result(settled)
    settled.redis.execute_command(  # type: ignore[no-untyped-call]
        "XADD", settled.orders, "99999999999999-0", "payload", "{}"
    )

    code, findings, summary = audited(settled, "--since", "0")

    assert (code, findings) == (0, [])
    assert (summary["seen"]["orders"], summary["seen"]["rows"], summary["seen"]["in_flight"]) == (1, 0, 1)


def test_results_that_retention_trimmed_are_out_of_range(settled: Deployment) -> None:
    settled.redis.xtrim(settled.results, maxlen=5, approximate=False)

    trimmed, findings, summary = audited(settled, results_maxlen="5")
    missing, gone, _ = audited(settled)

    assert (trimmed, findings, summary["seen"]["results_out_of_range"]) == (0, [], 26)
    assert (missing, len(gone)) == (1, 26)


def keep_last_results(deployment: Deployment) -> None:
    deployment.redis.xtrim(deployment.results, maxlen=5, approximate=False)


def in_this_process(deployment: Deployment, progress: Callable[[str, int, int], None]) -> Any:
    """An audit of a deployment whose results are as many as retention keeps but one."""
    maxlen = deployment.redis.xlen(deployment.results) + 1
    return audit_of(deployment.settings(results_maxlen=maxlen), Wish(0, False, False), progress)


def test_results_trimmed_before_an_audit_could_read_them_are_out_of_range(settled: Deployment) -> None:
    with in_this_process(settled, lambda *_: None) as auditor:
        keep_last_results(settled)
        findings = list(auditor.audit.findings())

    assert (findings, auditor.audit.seen.results_out_of_range) == ([], 26)
    assert auditor.audit.range.results_trimmed


def test_results_trimmed_after_an_audit_has_read_them_are_not_missed(settled: Deployment) -> None:
    delete_result(settled)

    def trim(store: str, *_: int) -> None:
        if store == "orders":
            keep_last_results(settled)

    with in_this_process(settled, trim) as auditor:
        (finding,) = auditor.audit.findings()

    assert finding.invariant == "I4"
    assert auditor.audit.seen.results_out_of_range == 0


def test_dead_letters_that_were_closed_and_let_go_are_out_of_range(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(2))
    take_and_vanish(deployment, 1, deliveries=9)
    with running(deployment, max_deliveries=3):
        eventually(deployment.all_settled)
    ((letter_id, _),) = deployment.entries(deployment.dead_letters)
    assert worker(deployment, "dead", "discard", letter_id, "--yes").returncode == 0
    state = f"{deployment.dead_letters}:state"
    long_ago = json.dumps({"state": "discarded", "by": "me", "at": "2000-01-01T00:00:00Z"})
    deployment.redis.hset(state, letter_id, long_ago)
    with running(deployment, orders_keep_s=1, letters_keep_s=1, repair_window_s=1):
        eventually(lambda: not deployment.redis.xlen(deployment.dead_letters))

    kept, findings, summary = audited(deployment)
    deployment.redis.hdel(state, "gone")
    deleted, gone, _ = audited(deployment)

    assert (kept, findings, summary["seen"]["letters_out_of_range"]) == (0, [], 1)
    assert (deleted, [each["invariant"] for each in gone]) == (1, ["I2"])


def test_repair_leaves_a_note_for_status(settled: Deployment) -> None:
    lose_marks(settled)

    audited(settled, "--repair")

    note: Any = settled.redis.hgetall(f"{settled.orders}:repaired:{settled.group}")
    assert (note[b"how"], note[b"marked"]) == (b"audit", b"33")
    assert not settled.redis.exists(f"{settled.orders}:repairs:{settled.group}")


def test_report_for_people_says_what_was_seen_and_what_it_means(settled: Deployment) -> None:
    alter_trade(settled)

    said = worker(settled, "audit")

    assert said.returncode == 1
    assert "I3  order order-7  entry " in said.stdout
    assert "seen: 34 orders (0 in flight, 1 duplicates), 31 rows, 31 results, 2 dead letters" in said.stdout
    assert "I3 (trades add up to what its row says was filled): 1 found" in said.stdout
    assert "0 mended, 1 left" in said.stdout
