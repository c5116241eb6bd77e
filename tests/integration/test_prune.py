"""`worker prune`: what goes, what stays and why, and what an order is that comes again."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from tests.aging import AGE_MS, HOUR_MS, QUICK, age, executed_long_ago
from tests.commands import command
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders, take_and_vanish
from tests.inprocess import running
from worker.domain.times import utc_text_of_ms

pytestmark = pytest.mark.usefixtures("marks_go_at_once", "retention_at_once")
WINDOW: dict[str, Any] = {"dedupe_window_s": 3600, **QUICK}
COUNT = 6


@pytest.fixture
def old(deployment: Deployment) -> Deployment:
    """Six orders of ten days ago, and one of now."""
    executed_long_ago(deployment, numbered_orders(COUNT))
    return deployment


def pruned(deployment: Deployment, *arguments: str, **overrides: object) -> dict[str, Any]:
    """Prune what is older than a day; return what it said, with its exit code."""
    said = command(deployment, "prune", "--older-than", "1d", "--json", *arguments, **{**WINDOW, **overrides})
    return {**json.loads(said.stdout), "code": said.exit_code}


def audited(deployment: Deployment, *arguments: str) -> tuple[int, list[str], dict[str, Any]]:
    """Audit; return the exit code, what was found, and what was seen."""
    done = command(deployment, "audit", "--json", *arguments, **WINDOW)
    *findings, last = (json.loads(line) for line in done.stdout.splitlines())
    return done.exit_code, [each["finding"]["what"] for each in findings], last["summary"]["seen"]


def sql(deployment: Deployment, statement: str) -> list[tuple[Any, ...]]:
    with deployment.database.transaction() as connection:
        done = connection.execute(text(statement))
        return [tuple(row) for row in done] if done.returns_rows else []


def test_old_rows_go_with_their_trades_and_are_counted_by_day(old: Deployment) -> None:
    day = utc_text_of_ms(int(old.accepted[0].partition("-")[0]))[:10]

    said = pruned(old)

    assert (said["code"], said["pruned"], said["refused"]) == (0, COUNT, {})
    assert old.rows().keys() == {"young"}
    assert sql(old, "SELECT DISTINCT order_id FROM trades WHERE order_id <> 'young'") == []
    ((source, counted, rows, results),) = sql(
        old, "SELECT source, day::text, orders, results FROM order_prunings"
    )
    assert (source, counted, rows, results) == (old.fleet.source, day, COUNT, COUNT)
    assert pruned(old)["pruned"] == 0


def test_audit_calls_what_was_pruned_neither_lost_nor_sound(old: Deployment) -> None:
    pruned(old)

    code, findings, seen = audited(old)

    assert (code, findings) == (0, [])
    assert (seen["pruned"], seen["rows"], seen["results"]) == (COUNT, 1, COUNT + 1)
    assert "6 results whose rows were pruned" in command(old, "audit").stdout
    assert_invariants(old)


def shown(deployment: Deployment, identifier: str) -> dict[str, Any]:
    """What `worker show` tells of an order."""
    found: dict[str, Any] = json.loads(command(deployment, "show", identifier, "--json", **WINDOW).stdout)
    return found


def test_order_whose_row_was_pruned_is_not_told_as_broken(old: Deployment) -> None:
    entry_id = old.accepted[0]
    day = utc_text_of_ms(int(entry_id.partition("-")[0]))[:10]
    unknown = shown(old, "order-0-never")
    pruned(old)

    by_entry, by_order = shown(old, entry_id), shown(old, "order-0")

    assert (by_entry["state"], by_entry["command"], by_entry["findings"]) == ("pruned", "worker audit", [])
    assert f"Of the orders that came on {day}, {COUNT} with results were pruned" in by_entry["sentence"]
    assert by_order["found"] is False
    assert f"the rows of {COUNT} orders that came on {day} were pruned." in by_order["sentence"]
    assert "pruned" not in unknown["sentence"]
    assert "pruned" not in shown(old, "253402300800000-0")["sentence"], "of a day that no calendar has"


def lose_row(deployment: Deployment) -> None:
    sql(deployment, "DELETE FROM trades WHERE order_id = 'order-0'")
    sql(deployment, "DELETE FROM orders WHERE order_id = 'order-0'")


def of_another_day(deployment: Deployment) -> None:
    sql(deployment, "UPDATE order_prunings SET day = '2020-01-01'")


def of_rows_without_results(deployment: Deployment) -> None:
    sql(deployment, "UPDATE order_prunings SET results = 0")


def of_another_source(deployment: Deployment) -> None:
    sql(deployment, "UPDATE order_prunings SET source = 'its'")


def marked_still(deployment: Deployment) -> None:
    entry_id = deployment.accepted[0]
    deployment.redis.zadd(deployment.marks, {entry_id: int(entry_id.partition("-")[0])})


def published_twice(deployment: Deployment) -> None:
    pairs = [
        pairs for _, pairs in deployment.entries(deployment.results) if ("order_id", b"order-0") in pairs
    ]
    deployment.redis.xadd(deployment.results, dict(pairs[0]))


@pytest.mark.parametrize(
    "make", [of_another_day, of_rows_without_results, of_another_source, marked_still, published_twice]
)
def test_result_without_a_row_is_told_as_broken_where_it_can_not_have_been_pruned(
    old: Deployment, make: Callable[[Deployment], object]
) -> None:
    lose_row(old)
    pruned(old)
    make(old)

    assert shown(old, old.accepted[0])["state"] == "broken"


def test_audit_finds_that_more_rows_are_gone_than_were_pruned(old: Deployment) -> None:
    sql(old, "UPDATE orders SET recorded_at = now() WHERE order_id IN ('order-0', 'order-1')")
    pruned(old)
    lose_row(old)

    code, (finding,), _ = audited(old)

    assert code == 1
    assert f"{COUNT - 1} results of orders that came on" in finding
    assert f"the rows of {COUNT - 2} were pruned" in finding


def test_audit_finds_a_lost_row_whose_mark_is_kept_however_many_were_pruned(old: Deployment) -> None:
    pruned(old)
    lose_row(old)
    sql(old, "UPDATE order_prunings SET orders = 99, results = 99")
    before = audited(old)
    marked_still(old)

    code, (finding,), _ = audited(old)

    assert before[:2] == (0, [])
    assert code == 1
    assert finding.endswith("has no row")


def test_dry_run_says_what_would_go_and_changes_nothing(old: Deployment) -> None:
    said = pruned(old, "--dry-run")

    assert (said["pruned"], said["dry_run"], len(old.rows())) == (COUNT, True, COUNT + 1)
    assert (
        "6 rows would be pruned" in command(old, "prune", "--older-than", "1d", "--dry-run", **WINDOW).stdout
    )


def open_letter_of_another_entry(deployment: Deployment) -> None:
    """The order came again, and was buried as poison: a replay would find its row."""
    letter = {"entry_id": "1-1", "order_id": "order-0", "source": deployment.fleet.source, "reason": "poison"}
    deployment.redis.xadd(deployment.dead_letters, letter)  # type: ignore[arg-type]


def say_submitted(deployment: Deployment) -> None:
    sql(deployment, "DELETE FROM trades WHERE order_id = 'order-0'")
    sql(
        deployment,
        "UPDATE orders SET status = 'SUBMITTED', filled_quantity = 0, average_price = NULL"
        " WHERE order_id = 'order-0'",
    )


def open_letter(deployment: Deployment) -> None:
    say_submitted(deployment)
    sql(deployment, "UPDATE orders SET status = 'DEAD' WHERE order_id = 'order-0'")
    letter = {"entry_id": deployment.accepted[0], "source": deployment.fleet.source, "reason": "failed"}
    deployment.redis.xadd(deployment.dead_letters, letter)  # type: ignore[arg-type]


def mark(deployment: Deployment) -> None:
    deployment.redis.zadd(deployment.marks, {deployment.accepted[0]: 1})


def ask_about(deployment: Deployment) -> None:
    deployment.redis.zadd(
        f"{deployment.results}:unknown:{deployment.fleet.source}", {deployment.accepted[0]: 1}
    )


def lower_the_horizon(deployment: Deployment) -> None:
    facts: Any = deployment.redis.zrangebyscore(deployment.marks, "+inf", "+inf")
    deployment.redis.zrem(deployment.marks, *(each for each in facts if each.startswith(b"horizon=")))
    deployment.redis.zrem(deployment.marks_of_before, "horizon")
    deployment.redis.zadd(deployment.marks, {f"horizon={deployment.accepted[0].partition('-')[0]}": "+inf"})


def name_no_entry(deployment: Deployment) -> None:
    sql(deployment, "UPDATE orders SET entry_id = 'by hand' WHERE order_id = 'order-0'")


def lose_its_source_beside_another(deployment: Deployment) -> None:
    sql(deployment, "UPDATE orders SET source = '' WHERE order_id = 'order-0'")
    sql(deployment, "INSERT INTO order_sources VALUES ('t', 'another', 'r', 'rt', now(), now())")


def come_again_lately(deployment: Deployment) -> None:
    sql(deployment, "UPDATE orders SET repeated_at = now() WHERE order_id = 'order-0'")


def be_young(deployment: Deployment) -> None:
    sql(deployment, "UPDATE orders SET recorded_at = now() - interval '25 h' WHERE order_id = 'order-0'")


@pytest.mark.parametrize(
    ("arrange", "reason", "stay"),
    [
        (say_submitted, "submitted", 1),
        (open_letter, "letter_open", 1),
        (open_letter_of_another_entry, "letter_open", 1),
        (mark, "marked", 1),
        (ask_about, "unknown", 1),
        (lower_the_horizon, "unsettled", COUNT),
        (name_no_entry, "strange", 1),
        (lose_its_source_beside_another, "unsourced", 1),
    ],
)
def test_row_stays_and_it_is_said_why(
    old: Deployment, arrange: Callable[[Deployment], None], reason: str, stay: int
) -> None:
    arrange(old)

    said = pruned(old)

    assert (said["code"], said["refused"]) == (1, {reason: stay})
    assert said["pruned"] == COUNT - stay
    assert "order-0" in {row for (row,) in sql(old, "SELECT order_id FROM orders")}


def test_row_goes_once_its_letter_is_closed(old: Deployment) -> None:
    open_letter(old)
    before = pruned(old)
    ((letter_id, _),) = old.entries(old.dead_letters)
    command(old, "dead", "discard", letter_id, "--yes")

    after = pruned(old)

    assert (before["refused"], after["refused"], after["pruned"]) == ({"letter_open": 1}, {}, 1)
    assert sql(old, "SELECT sum(orders), sum(results) FROM order_prunings") == [(COUNT, COUNT - 1)]


def bury(deployment: Deployment) -> str:
    """Say of the first order that it was given up; return its letter, which has all its fields."""
    say_submitted(deployment)
    sql(deployment, "UPDATE orders SET status = 'DEAD' WHERE order_id = 'order-0'")
    originals = {f"orig:{name}": value for name, value in numbered_orders(1)[0].items()}
    notes = {"entry_id": deployment.accepted[0], "order_id": "order-0", "reason": "failed"}
    letter: Any = {**notes, "source": deployment.fleet.source, **originals}
    added: Any = deployment.redis.xadd(deployment.dead_letters, letter)
    return str(added.decode())


def replayed(deployment: Deployment, letter_id: str, *arguments: str) -> str:
    """Replay a letter; return the entry that was added."""
    done = command(deployment, "dead", "replay", letter_id, "--yes", "--json", *arguments)
    assert done.exit_code == 0, done.output
    return str(json.loads(done.stdout)["replayed"][letter_id])


@pytest.mark.parametrize("fate", ["waiting", "pending"])
def test_row_stays_until_the_entry_that_replays_its_letter_was_worked_off(old: Deployment, fate: str) -> None:
    again = replayed(old, bury(old))
    if fate == "pending":
        take_and_vanish(old, 1)

    said = pruned(old)
    with running(old, lease_ms=1000, **WINDOW) as made:
        eventually(old.all_settled)

    assert (said["code"], said["refused"], said["pruned"]) == (1, {"replayed": 1}, COUNT - 1)
    assert (made.worker.tally.filled, made.worker.tally.duplicate) == (1, 0)
    row = old.rows()["order-0"]
    assert (row.entry_id, row.status) == (again, "FILLED")


def test_row_stays_whose_order_a_waiting_replay_was_given(old: Deployment) -> None:
    replayed(old, bury(old), "--set", "order_id=order-1", "--set", "quantity=7")

    said = pruned(old)
    with running(old, **WINDOW) as made:
        eventually(old.all_settled)

    assert (said["refused"], said["pruned"]) == ({"replayed": 2}, COUNT - 2)
    assert made.worker.tally.filled == 0
    assert old.rows()["order-1"].entry_id == old.accepted[1]


def test_row_goes_once_the_entry_that_replays_its_letter_is_not_there_any_more(old: Deployment) -> None:
    replayed(old, bury(old))
    old.redis.xtrim(old.orders, maxlen=0)
    later: Any = old.redis.xadd(old.orders, {"type": "probe"})
    old.redis.xgroup_setid(old.orders, old.group, later)

    said = pruned(old)

    assert (said["refused"], said["pruned"]) == ({}, COUNT)


def test_row_whose_order_came_again_lately_stays(old: Deployment) -> None:
    come_again_lately(old)

    assert pruned(old)["pruned"] == COUNT - 1
    assert "order-0" in old.rows()


def test_row_stays_until_the_window_has_passed(old: Deployment) -> None:
    be_young(old)

    within = pruned(old, dedupe_window_s=2 * 86_400)
    beyond = pruned(old, dedupe_window_s=86_400 - 120)

    assert (within["refused"], within["pruned"], within["code"]) == ({"window": 1}, COUNT - 1, 1)
    assert (beyond["refused"], beyond["pruned"], beyond["code"]) == ({}, 1, 0)


@pytest.mark.parametrize("lost", ["group", "stream", "note"])
def test_nothing_goes_while_nobody_can_know_what_comes_again(old: Deployment, lost: str) -> None:
    match lost:
        case "group":
            old.redis.xgroup_destroy(old.orders, old.group)
        case "stream":
            old.redis.delete(old.orders)
        case _:
            old.redis.zadd(f"{old.orders}:trimmed:{old.group}", {"1-1": 1})

    said = pruned(old)

    assert (said["code"], said["pruned"], said["until"]) == (1, 0, None)
    assert "nobody can know now" in command(old, "prune", "--older-than", "1d", **WINDOW).stdout


def test_nothing_goes_that_a_group_which_lags_behind_may_still_need(old: Deployment) -> None:
    old.redis.xgroup_create(old.orders, "laggard", "0")

    assert pruned(old)["pruned"] == 0


def test_order_sent_again_within_the_window_is_a_duplicate_however_late_it_is_read(
    deployment: Deployment,
) -> None:
    executed_long_ago(deployment, numbered_orders(COUNT), age_ms=AGE_MS)
    # It was executed two hours before it came again, which nobody has read yet.
    (again,) = deployment.submit(numbered_orders(1))
    deployment.redis.xgroup_setid(deployment.orders, deployment.group, deployment.accepted[COUNT])
    age(deployment, 2 * HOUR_MS - AGE_MS)

    said = pruned(deployment, dedupe_window_s=3 * 3600)
    with running(deployment, **WINDOW) as made:
        eventually(deployment.all_settled)

    assert said["pruned"] == 0
    assert made.worker.tally.duplicate == 1
    assert deployment.rows()["order-0"].entry_id != again
    assert audited(deployment)[:2] == (0, [])


def test_order_sent_again_after_its_row_went_is_executed_as_a_new_one(old: Deployment) -> None:
    pruned(old)
    (again,) = old.submit(numbered_orders(1))

    with running(old, **WINDOW) as made:
        eventually(old.all_settled)

    assert (made.worker.tally.filled, made.worker.tally.duplicate) == (1, 0)
    assert old.rows()["order-0"].entry_id == again
    assert sum(each["order_id"] == "order-0" for each in old.published()) == 2
    assert audited(old)[:2] == (0, [])
    assert_invariants(old)


def test_order_that_came_again_late_and_was_acked_keeps_its_row_as_long_as_its_entry_is_there(
    old: Deployment,
) -> None:
    old.submit(numbered_orders(1))
    with running(old, repair_window_s=1) as made:
        eventually(old.all_settled)

    said = pruned(old)

    assert made.worker.tally.duplicate == 1
    assert said["pruned"] == COUNT - 1
    assert audited(old)[:2] == (0, [])
    assert_invariants(old)


def test_lost_entry_in_the_hands_of_nobody_keeps_rows(old: Deployment) -> None:
    old.submit(numbered_orders(COUNT + 1)[COUNT:])
    take_and_vanish(old, 1)

    assert pruned(old)["pruned"] == COUNT


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--before", "2026-01-01", "--older-than", "1d"],
        ["--before", "yesterday"],
        ["--older-than", "soon"],
    ],
)
def test_what_is_not_said_clearly_is_a_usage_error(deployment: Deployment, arguments: list[str]) -> None:
    assert command(deployment, "prune", *arguments).exit_code == 2


def test_time_is_taken_in_utc_where_it_names_no_zone(old: Deployment) -> None:
    then = datetime.now(UTC).isoformat(timespec="seconds").removesuffix("+00:00")

    said = json.loads(command(old, "prune", "--before", then, "--json", "--dry-run", **WINDOW).stdout)

    assert said["before"] == f"{then}Z"


@pytest.mark.parametrize("when", ["", "DEFERRABLE INITIALLY DEFERRED"], ids=["at once", "at the commit"])
def test_row_that_another_table_references_stays_and_the_rest_goes(old: Deployment, when: str) -> None:
    sql(old, f"CREATE TABLE of_theirs (order_id text REFERENCES orders {when})")
    sql(old, "INSERT INTO of_theirs VALUES ('order-2')")

    said = pruned(old)
    again = pruned(old)
    shown = command(old, "prune", "--older-than", "1d", **WINDOW)

    assert (said["pruned"], said["refused"], said["code"]) == (COUNT - 1, {"referenced": 1}, 1)
    assert "order-2: ForeignKeyViolation 23503" in shown.stderr
    assert (again["pruned"], again["refused"]) == (0, {"referenced": 1})
    assert old.rows().keys() == {"order-2", "young"}
    assert sql(old, "SELECT sum(orders) FROM order_prunings") == [(COUNT - 1,)]
    sql(old, "DELETE FROM of_theirs")
    assert pruned(old)["pruned"] == 1


def test_row_whose_trigger_raises_when_it_is_deleted_stays_and_the_rest_goes(old: Deployment) -> None:
    sql(
        old,
        "CREATE FUNCTION holds() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN IF OLD.order_id = ''order-2'' THEN RAISE ''on hold''; END IF; RETURN OLD; END'",
    )
    sql(old, "CREATE TRIGGER holds BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION holds()")

    said = pruned(old)

    assert (said["pruned"], said["refused"], said["code"]) == (COUNT - 1, {"refused": 1}, 1)
    assert old.rows().keys() == {"order-2", "young"}
