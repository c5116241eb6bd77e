"""What programs that join in may rely on: with a real worker and the fake one, with asyncio and without."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.clients import AsyncCaller, Caller, SyncCaller, World, fake_world, real_world
from worker.client import Added, Buried, Order, Side, Status


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A worker at work, once faked and once real."""
    if request.param == "fake":
        with fake_world() as made:
            yield made
    else:
        with real_world(request.getfixturevalue("deployment")) as made:
            yield made


@pytest.fixture(params=["sync", "async"])
def caller(request: pytest.FixtureRequest, world: World) -> Caller:
    return SyncCaller(world) if request.param == "sync" else AsyncCaller(world)


def test_order_that_is_added_has_its_result_with_exact_amounts(caller: Caller) -> None:
    quantity, price = Decimal("0.000000000000000000000000000001"), "12345678901234567890.5"
    order = Order("BTC/USD", "buy", quantity, price=price, client_id="desk-7", reason="test", timestamp=1)

    added = caller.add(order)
    result = caller.outcome(added)

    assert (result.order_id, result.entry_id, result.status) == (
        added.order_id,
        added.entry_id,
        Status.FILLED,
    )
    assert (result.symbol, result.side, result.client_id) == ("BTC/USD", Side.BUY, "desk-7")
    assert (result.quantity, result.filled_quantity) == (quantity, quantity)
    assert isinstance(result.price, Decimal)
    assert result.trade_id is not None


def test_order_that_is_added_again_is_executed_once_and_answered_twice(caller: Caller) -> None:
    order = Order("X", Side.SELL, 3, price=2, order_id="again")

    first = caller.add(order)
    second = caller.add(order)

    assert first.entry_id != second.entry_id
    assert caller.outcome(first) == caller.outcome(second)
    assert caller.read() == ["again"]


def test_order_that_is_added_again_long_after_is_answered_with_the_result_of_then(caller: Caller) -> None:
    order = Order("X", Side.SELL, 3, price=2, order_id="old")
    first = caller.add(order)
    then = caller.outcome(first)

    # As if the first had been added minutes before: its result is not looked for here.
    second = replace(caller.add(order), since=f"{2**42}-0")

    assert caller.outcome(second) == then


def test_other_order_under_the_same_id_is_buried_and_the_first_keeps_its_result(caller: Caller) -> None:
    first = caller.add(Order("X", "BUY", 1, price=2, order_id="same"))
    assert caller.outcome(first).status is Status.FILLED

    other = caller.add(Order("X", "BUY", 1000, price=2, order_id="same"))

    with pytest.raises(Buried, match="conflict") as raised:
        caller.outcome(other)
    assert (raised.value.entry_id, raised.value.reason) == (other.entry_id, "conflict")
    assert caller.outcome(first).filled_quantity == 1
    assert caller.read() == ["same"]


@pytest.mark.parametrize(
    "order",
    [
        Order("X", "BUY", 0, price=1),
        Order("X", "HOLD", 1, price=1),
        Order("X", "BUY", 1, price="-2"),
        Order("X", "BUY", 1, price=1, stop_loss_pct=101),
    ],
    ids=["quantity", "side", "price", "stop loss"],
)
def test_order_that_breaks_a_rule_is_rejected_with_the_reason(caller: Caller, order: Order) -> None:
    result = caller.outcome(caller.add(order))

    assert result.status is Status.REJECTED
    assert result.filled_quantity == 0
    assert result.error_message


def test_order_nobody_knows_has_no_result_in_time(caller: Caller) -> None:
    added = caller.add(Order("X", "BUY", 1, price=1))

    with pytest.raises(TimeoutError, match=r"order nobody-knows has no result after 0\.1 s"):
        caller.outcome(Added(added.entry_id, "nobody-knows"), timeout_s=0.1)


def added_in_turn(caller: Caller, *order_ids: str) -> None:
    for order_id in order_ids:
        caller.outcome(caller.add(Order("X", "BUY", 1, price=1, order_id=order_id)))


def test_all_results_are_given_out_once_and_the_group_goes_on_where_it_was(caller: Caller) -> None:
    added_in_turn(caller, "a", "b")
    first = caller.read()
    added_in_turn(caller, "c")

    assert (first, caller.read("another"), caller.read()) == (["a", "b"], ["c"], [])


def test_result_whose_loop_was_left_comes_again_to_the_same_reader_before_others(caller: Caller) -> None:
    added_in_turn(caller, "a", "b", "c")

    given = caller.read(left_in="b")

    assert (given, caller.read()) == (["a", "b"], ["b", "c"])


def test_result_that_a_crashed_reader_left_pending_is_claimed_by_another(caller: Caller) -> None:
    added_in_turn(caller, "a", "b")

    assert caller.read("crashes", left_in="a") == ["a"]

    assert sorted(caller.read("another", claim_after_s=0.1)) == ["a", "b"]
    assert caller.read("crashes") == []


def test_result_that_was_trimmed_while_pending_for_another_is_told(
    caller: Caller, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    added_in_turn(caller, "a")
    assert caller.read("crashes", left_in="a") == ["a"]
    world.trim_results()
    added_in_turn(caller, "b")

    with caplog.at_level(logging.WARNING):
        assert caller.read("another", claim_after_s=0.1) == ["b"]

    assert caplog.text.count("was trimmed before group readers had read it") == 1


def test_result_that_is_pending_for_another_is_left_to_it_until_it_may_be_claimed(caller: Caller) -> None:
    added_in_turn(caller, "a", "b")

    assert caller.read("works", left_in="a") == ["a"]

    assert caller.read("another", claim_after_s=60) == ["b"]


def test_result_that_a_repair_publishes_again_is_given_out_once(caller: Caller, world: World) -> None:
    added_in_turn(caller, "a")
    world.publish_again("a")
    added_in_turn(caller, "b")

    assert caller.read() == ["a", "b"]
    assert caller.read() == []


def test_new_group_may_begin_with_what_is_published_from_now_on(caller: Caller) -> None:
    added_in_turn(caller, "a")
    assert caller.read(start="$") == []
    added_in_turn(caller, "b")

    assert caller.read(start="$") == ["b"]
