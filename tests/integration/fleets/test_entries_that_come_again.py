"""Entry ids, groups and marks that come again: one order, one result, and no row swallows another's order."""

import json
import time
from typing import Any

import pytest

from tests.commands import command
from tests.fleets import (
    assert_audits_are_clean,
    audit,
    delete_marks,
    entry_ids,
    group_is_through,
    has_repaired,
    not_to_be_known,
    orders_not_to_be_known,
    result_ids,
    rows,
    small_order,
)
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders, take_and_vanish
from tests.inprocess import running
from worker.bootstrap.replica import Replica

FEW = [f"order-{i}" for i in range(5)]


def settle_few(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(len(FEW)))
    with running(deployment):
        eventually(deployment.all_settled)


def has_looked_around(deployment: Deployment, made: Replica) -> bool:
    """Whether a replica has had all that is on the stream, and has come to the end of its repair."""
    return group_is_through(deployment) and has_repaired(deployment, made.names.consumer)


@pytest.mark.parametrize("quantity", ["1", "2"], ids=["equal content", "other content"])
def test_order_is_a_conflict_that_names_both_when_its_entry_id_was_another_ones(
    deployment: Deployment, quantity: str
) -> None:
    """Proves case 1: the row of an entry answers for its own order alone; the other is not silently lost."""
    deployment.submit([small_order("a1")], under=["1-0"])
    with running(deployment):
        eventually(deployment.all_settled)
    before = rows(deployment)
    deployment.redis.delete(deployment.orders)
    deployment.submit([small_order("b1", quantity)], under=["1-0"])

    with running(deployment):
        eventually(deployment.all_settled)

    (letter,) = deployment.letters()
    assert (letter["reason"], letter["entry_id"], letter["order_id"]) == (b"conflict", b"1-0", b"b1")
    assert b"a1" in letter["error"]
    assert b"b1" in letter["error"]
    assert rows(deployment) == before
    assert result_ids(deployment) == ["a1"]


def test_conflict_over_an_entry_id_is_told_once_when_its_entry_is_delivered_again(
    deployment: Deployment,
) -> None:
    """Proves that such a conflict has a mark of its own: that of the entry is the other order's."""
    deployment.submit([small_order("a1")], under=["1-0"])
    with running(deployment):
        eventually(deployment.all_settled)
    deployment.redis.delete(deployment.orders)
    deployment.submit([small_order("b1")], under=["1-0"])

    for _ in range(2):
        with running(deployment):
            eventually(deployment.all_settled)
        deployment.redis.xgroup_destroy(deployment.orders, deployment.group)

    assert [letter["order_id"] for letter in deployment.letters()] == [b"b1"]
    assert result_ids(deployment) == ["a1"]


JUNK: dict[str, Any] = {"no": "order"}


@pytest.mark.parametrize("taken_by", ["the replica", "one who died"])
@pytest.mark.parametrize(
    ("first", "then"),
    [
        (small_order("a1"), JUNK),
        (JUNK, small_order("b1")),
        (JUNK, {"other": "junk"}),
        (small_order("known", "2"), small_order("b1")),
        (small_order("known", "2"), small_order("known", "3")),
    ],
    ids=["order, no order", "no order, order", "no order twice", "conflict, order", "conflict twice"],
)
def test_entry_has_its_result_or_its_letter_when_another_had_its_id_before(
    deployment: Deployment, first: dict[str, Any], then: dict[str, Any], taken_by: str
) -> None:
    """Proves that a mark of what owns no row is that of its content: it swallows nothing that has its id."""
    deployment.submit([small_order("known")], under=["1-0"])
    for content in (first, then):
        deployment.submit([content], under=["2-0"])
        if content is then and taken_by != "the replica":
            take_and_vanish(deployment, 1)
        with running(deployment):
            eventually(deployment.all_settled)
        clean = audit(deployment)
        deployment.redis.delete(deployment.orders)

    sent = [each for each in (first, then) if each.get("order_id") not in {None, "known"}]
    assert result_ids(deployment) == ["known", *(each["order_id"] for each in sent)]
    assert len(deployment.letters()) == 2 - len(sent)
    assert clean == (0, [])


def test_each_order_is_told_with_its_own_letters_when_its_id_was_anothers(deployment: Deployment) -> None:
    """Proves that `worker show` asks for each by what it is: row, letters and marks are of its content."""
    for content in (small_order("a1"), JUNK, small_order("b1")):
        deployment.redis.delete(deployment.orders)
        deployment.submit([content], under=["2-0"])
        with running(deployment):
            eventually(deployment.all_settled)

    told = {each: command(deployment, "show", each) for each in ("a1", "b1")}

    assert "buried" not in told["a1"].stdout
    assert "now under its id b1" in told["a1"].stdout
    assert (told["a1"].exit_code, told["b1"].exit_code) == (0, 0)
    assert "conflict" in told["b1"].stdout
    assert "undecodable" not in told["b1"].stdout


def test_no_order_has_its_letter_when_its_deliveries_are_used_up_and_another_had_its_id(
    deployment: Deployment,
) -> None:
    """Proves that it is not given up as the order whose row its id has: that would answer for it."""
    client, orders = deployment.redis, deployment.orders
    deployment.submit([small_order("a1")], under=["1-0"])
    with running(deployment):
        eventually(deployment.all_settled)
    client.delete(orders)
    deployment.submit([JUNK], under=["1-0"])
    take_and_vanish(deployment, 1, deliveries=5)

    with running(deployment):
        eventually(deployment.all_settled)

    assert [each["reason"] for each in deployment.letters()] == [b"undecodable"]
    assert result_ids(deployment) == ["a1"]
    assert audit(deployment) == (0, [])


def test_conflicts_under_one_id_have_a_letter_each_when_they_differ_behind_the_first_kilobyte(
    deployment: Deployment,
) -> None:
    """Proves that all of what is never withheld counts: orders may say who they are at their end."""
    deployment.submit([small_order("a1")], under=["1-0"])
    with running(deployment):
        eventually(deployment.all_settled)
    for order_id in ("b1", "b2"):
        deployment.redis.delete(deployment.orders)
        said = {"reason": "x" * 2000, **small_order(order_id)}
        deployment.submit([{"payload": json.dumps(said)}], under=["1-0"])
        with running(deployment):
            eventually(deployment.all_settled)

    assert [each["order_id"] for each in deployment.letters()] == [b"b1", b"b2"]
    assert audit(deployment) == (0, [])


@pytest.mark.parametrize("then", [JUNK, small_order("b1")], ids=["no order", "conflict"])
def test_order_that_nobody_knows_of_stays_a_question_when_what_has_its_id_is_buried(
    deployment: Deployment, then: dict[str, Any]
) -> None:
    """Proves that the letter of another entry answers nothing about the row of its id."""
    first, second = entry_ids(2)
    deployment.submit([small_order("a1"), small_order("c1")], under=[first, second])
    with running(deployment):
        eventually(deployment.all_settled)
    deployment.redis.xtrim(deployment.results, maxlen=1, approximate=False)
    delete_marks(deployment, and_the_group=True)
    with running(deployment):
        eventually(lambda: group_is_through(deployment))
    assert not_to_be_known(deployment) == 1
    with deployment.database.transaction() as connection:
        # No replica looks at it again by itself.
        connection.exec_driver_sql("UPDATE orders SET recorded_at = recorded_at - interval '1 day'")
    deployment.redis.delete(deployment.orders)
    deployment.submit([then], under=[first])

    with running(deployment):
        eventually(deployment.all_settled)

    assert not_to_be_known(deployment) == 1
    assert orders_not_to_be_known(deployment) == ["a1"]


@pytest.mark.parametrize("then", [JUNK, small_order("b1")], ids=["no order", "conflict"])
def test_order_without_an_outcome_is_not_called_mended_when_its_id_is_anothers(
    deployment: Deployment, then: dict[str, Any]
) -> None:
    """Proves that an audit makes nothing pending for it: what has its id now can't tell what became of it."""
    deployment.submit([small_order("a1")], under=["1-0"])
    with running(deployment):
        eventually(deployment.all_settled)
    with deployment.database.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM trades")
        connection.exec_driver_sql("UPDATE orders SET status = 'SUBMITTED', filled_quantity = 0")
    deployment.redis.delete(deployment.orders, deployment.results, *deployment.mark_keys)
    deployment.submit([then], under=["1-0"])
    with running(deployment):
        eventually(deployment.all_settled)

    code, (finding,) = audit(deployment, "--repair")

    assert (code, finding["remedy"]) == (1, None)
    assert "ask the venue" in finding["what"]
    assert deployment.pending() == 0


def test_story_of_an_order_that_came_with_the_id_of_another_is_told(deployment: Deployment) -> None:
    """Proves that the row of its id is not taken for one that was written while it was looked at."""
    (entry_id,) = entry_ids(1)
    for order_id in ("a1", "b1"):
        deployment.redis.delete(deployment.orders)
        deployment.submit([small_order(order_id)], under=[entry_id])
        with running(deployment):
            eventually(deployment.all_settled)

    told = json.loads(command(deployment, "show", "b1", "--json").stdout)

    assert told["state"] == "buried"
    assert told["findings"] == []


def test_order_is_a_conflict_when_its_id_was_that_of_an_entry_nobody_knows(deployment: Deployment) -> None:
    """Proves that the row of what was trimmed before anybody read it answers for no order by name."""
    client, orders = deployment.redis, deployment.orders
    deployment.submit([small_order("a1")], under=["1-0"])
    take_and_vanish(deployment, 1)
    client.xdel(orders, "1-0")
    with running(deployment, lease_ms=1000, block_ms=50, transaction_timeout_s=0.5, execute_timeout_s=0.5):
        eventually(lambda: [each["reason"] for each in deployment.letters()] == [b"trimmed"])
    client.delete(orders)
    deployment.submit([small_order("b1")], under=["1-0"])

    with running(deployment):
        eventually(deployment.all_settled)

    assert [each["reason"] for each in deployment.letters()] == [b"trimmed", b"conflict"]
    assert deployment.letters()[1]["order_id"] == b"b1"


def test_order_is_answered_when_its_own_entry_comes_again_on_a_new_stream(deployment: Deployment) -> None:
    """Proves the other side of case 1: same id, same order, same content is a redelivery like any other."""
    deployment.submit([small_order("a1")], under=["1-0"])
    with running(deployment):
        eventually(deployment.all_settled)
    deployment.redis.delete(deployment.orders)
    deployment.submit([small_order("a1")], under=["1-0"])

    with running(deployment) as made:
        eventually(deployment.all_settled)

    assert made.worker.tally.answered_again == 1
    assert result_ids(deployment) == ["a1"]
    assert_invariants(deployment, made.worker.tally)


def test_nothing_is_executed_or_published_again_when_the_group_is_renamed(deployment: Deployment) -> None:
    """Proves case 3: marks do not belong to a group."""
    settle_few(deployment)
    before, old_group = rows(deployment), deployment.group
    deployment.group = "execution-v2"

    with running(deployment) as made:
        eventually(lambda: has_looked_around(deployment, made))

    assert result_ids(deployment) == FEW
    assert rows(deployment) == before
    assert (made.worker.tally.filled, made.worker.tally.answered_again) == (0, len(FEW))
    deployment.redis.xgroup_destroy(deployment.orders, old_group)
    assert_audits_are_clean([deployment])
    assert_invariants(deployment, made.worker.tally)


def test_nobody_is_asked_about_trimmed_results_when_the_group_is_renamed(deployment: Deployment) -> None:
    """Proves that the marks themselves answer in a new group, where the results could not."""
    settle_few(deployment)
    deployment.redis.xtrim(deployment.results, maxlen=1, approximate=False)
    deployment.group = "execution-v2"

    with running(deployment) as made:
        eventually(lambda: has_looked_around(deployment, made))

    assert result_ids(deployment) == FEW[-1:]
    assert not_to_be_known(deployment) == 0


def test_nothing_is_executed_or_published_again_when_a_second_group_reads_beside_the_first(
    deployment: Deployment,
) -> None:
    """Proves that two groups on one stream are one fleet: whoever comes second answers from the row."""
    deployment.submit(numbered_orders(200))

    with running(deployment) as first:
        eventually(deployment.all_settled)
        with running(deployment, group="other") as second:
            eventually(lambda: second.worker.tally.answered_again == 200)
            deployment.submit(numbered_orders(300)[200:])
            eventually(lambda: first.worker.tally.received == second.worker.tally.received == 300)
            eventually(lambda: first.worker.tally.in_hand == second.worker.tally.in_hand == 0)

    assert len(result_ids(deployment)) == len(set(result_ids(deployment))) == 300
    deployment.redis.xgroup_destroy(deployment.orders, "other")
    assert_audits_are_clean([deployment])
    assert_invariants(deployment, first.worker.tally, second.worker.tally)


def test_nothing_is_published_again_when_the_marks_are_deleted(deployment: Deployment) -> None:
    """Proves case 4: a missing mark is a question to the results, and the results say that it is there."""
    settle_few(deployment)
    delete_marks(deployment)

    with running(deployment) as made:
        eventually(lambda: has_looked_around(deployment, made))

    assert result_ids(deployment) == FEW
    assert_audits_are_clean([deployment])
    assert_invariants(deployment, made.worker.tally)


@pytest.mark.parametrize("recorded", ["lately", "an hour ago"])
def test_nothing_is_published_again_when_the_marks_are_deleted_with_the_group(
    deployment: Deployment, recorded: str
) -> None:
    """Proves that a delivery asks the same question as a repair, however old its row is."""
    settle_few(deployment)
    if recorded != "lately":
        with deployment.database.transaction() as connection:
            connection.exec_driver_sql("UPDATE orders SET recorded_at = recorded_at - interval '1 hour'")
    delete_marks(deployment, and_the_group=True)

    with running(deployment) as made:
        eventually(lambda: has_looked_around(deployment, made))

    assert made.worker.tally.answered_again == len(FEW)
    assert result_ids(deployment) == FEW
    assert_audits_are_clean([deployment])
    assert_invariants(deployment, made.worker.tally)


def test_results_go_out_again_when_they_were_deleted_with_the_marks(deployment: Deployment) -> None:
    """Proves that results gone as a whole, like the marks, were lost: each of the rows is published."""
    settle_few(deployment)
    deployment.redis.delete(deployment.results)
    delete_marks(deployment)

    with running(deployment) as made:
        eventually(lambda: has_looked_around(deployment, made))
        eventually(lambda: deployment.redis.xlen(deployment.results) == len(FEW))

    assert sorted(result_ids(deployment)) == FEW
    assert_audits_are_clean([deployment])
    assert_invariants(deployment, made.worker.tally)


@pytest.mark.parametrize("entry_id", [b"abc", b"1\0-1", b"\xff", b"", b"-1-0"])
def test_nothing_is_published_again_when_others_wrote_what_names_no_entry(
    deployment: Deployment, entry_id: bytes
) -> None:
    """Proves that what anybody writes beside results and letters does not keep marks from being made anew."""
    settle_few(deployment)
    for stream in (deployment.results, deployment.dead_letters):
        deployment.redis.xadd(stream, {"entry_id": entry_id, "order_id": b"order-1\0"})
    written = deployment.entries(deployment.results)
    delete_marks(deployment, and_the_group=True)

    with running(deployment) as made:
        eventually(lambda: has_looked_around(deployment, made))

    told: Any = deployment.redis.zrangebyscore(deployment.marks, "+inf", "+inf")
    assert deployment.entries(deployment.results) == written
    assert any(fact.startswith(b"walked=") for fact in told), told


def test_settled_entry_that_is_trimmed_in_the_hands_of_one_who_dies_has_one_result(
    deployment: Deployment,
) -> None:
    client, orders, group = deployment.redis, deployment.orders, deployment.group
    # Marks are dropped by the millisecond.
    now_ms = time.time_ns() // 1_000_000
    first, _ = deployment.submit(
        [small_order("o1"), small_order("o2")], under=[f"{now_ms - 2}-0", f"{now_ms - 1}-0"]
    )
    with running(deployment):
        eventually(deployment.all_settled)
    client.xgroup_destroy(orders, group)
    client.xgroup_create(orders, group, "0")
    client.xreadgroup(group, "gone", {orders: ">"}, count=1)
    client.xclaim(orders, group, "gone", 0, [first], idle=3_600_000, justid=True)
    client.xdel(orders, first)

    with running(
        deployment,
        repair_window_s=0,
        lease_ms=1000,
        block_ms=50,
        transaction_timeout_s=0.5,
        execute_timeout_s=0.5,
    ) as made:
        eventually(lambda: made.worker.tally.answered_again == 2)

    assert result_ids(deployment) == ["o1", "o2"]
    assert_invariants(deployment)


@pytest.mark.parametrize("taken_by", ["the replica", "one who died"])
@pytest.mark.parametrize(
    ("order", "settings"),
    [
        ({**small_order("a1"), "reason": "x" * 3000}, {"max_entry_bytes": 2048}),
        ({**small_order("a1"), "client_id": "two words"}, {"order_id_field": "client_id"}),
    ],
    ids=["a limit", "the field that names orders"],
)
def test_order_that_was_executed_is_answered_when_a_setting_makes_none_of_it(
    deployment: Deployment, order: dict[str, Any], settings: dict[str, Any], taken_by: str
) -> None:
    """Proves that what is no order under today's settings has no letter where it was one before."""
    client, orders = deployment.redis, deployment.orders
    deployment.submit([order], under=["1-0"])
    with running(deployment):
        eventually(deployment.all_settled)
    client.xgroup_destroy(orders, deployment.group)
    if taken_by != "the replica":
        take_and_vanish(deployment, 1)

    with running(deployment, **settings) as made:
        eventually(lambda: made.worker.tally.answered_again == 1)

    assert deployment.letters() == []
    assert result_ids(deployment) == ["a1"]
    assert audit(deployment, **settings) == (0, [])


@pytest.mark.parametrize("then", [JUNK, small_order("b1")], ids=["no order", "another order"])
def test_letter_that_is_given_back_has_nothing_of_what_has_the_id_of_its_entry_now(
    deployment: Deployment, then: dict[str, Any]
) -> None:
    """Proves that a repair buries a row with what its own entry held: a replay would execute the other."""
    client, orders = deployment.redis, deployment.orders
    deployment.submit([small_order("a1")], under=["1-0"])
    take_and_vanish(deployment, 1, deliveries=5)
    with running(deployment):
        eventually(deployment.all_settled)
    client.delete(orders, deployment.dead_letters)
    delete_marks(deployment)
    deployment.submit([then], under=["1-0"])

    with running(deployment) as made:
        eventually(lambda: has_looked_around(deployment, made))
        eventually(lambda: len(deployment.letters()) == 2)

    (of_row,) = [each for each in deployment.letters() if each["reason"] == b"poison"]
    assert of_row["order_id"] == b"a1"
    assert not [name for name in of_row if name.startswith("orig:")]
