"""One sends at a time: what groups that know nothing of each other do about the same order."""

from collections.abc import Callable

import pytest

from tests.builders import filled
from tests.fakes import Bench
from tests.unit.test_outside_orders import LEASE_S, Died, outside, raising, venue_of
from worker.domain.deliveries import Outcome, Retry, Settled
from worker.domain.orders import Execution, Order, Status

EXECUTE_TIMEOUT_S = LEASE_S / 3


def with_group_made_anew(bench: Bench) -> Bench:
    """Another replica, to which a group that was made anew hands out what the first has in hand."""
    bench.stream.group = None
    return outside(bench.stream, bench.store.table, venue=venue_of(bench), consumer="worker-2")


def dies_in_a_send(bench: Bench) -> None:
    bench.executor.instead["a"] = raising(Died())
    with pytest.raises(Died):
        bench.handle_next()
    del bench.executor.instead["a"]


def first_sends_while(bench: Bench, act: Callable[[], object]) -> list[Outcome]:
    def meanwhile(made: Order) -> Execution:
        act()
        return filled(made)

    bench.executor.instead["a"] = meanwhile
    outcomes = bench.handle_next()
    del bench.executor.instead["a"]
    return outcomes


def test_order_that_is_being_sent_is_not_sent_by_another_group() -> None:
    first = outside()
    first.submit("a")
    seen: list[Outcome] = []

    def other_group() -> None:
        second = with_group_made_anew(first)
        seen.extend(second.handle_next())

    (outcome,) = first_sends_while(first, other_group)

    assert isinstance(outcome, Settled)
    assert [type(each) for each in seen] == [Retry]
    assert first.executor.executed == ["a"]


def test_order_that_another_group_met_is_answered_from_its_row_afterwards() -> None:
    first = outside()
    first.submit("a")
    others: list[Bench] = []

    def other_group() -> None:
        second = with_group_made_anew(first)
        (early,) = second.handle_next()
        second.intake.postpone(early.delivery)
        others.append(second)

    first_sends_while(first, other_group)
    (second,) = others
    second.run_until(lambda: second.done)

    assert second.executor.executed == ["a"]
    assert second.rows["a"].status is Status.FILLED


def test_order_nobody_can_be_sending_any_more_is_sent_by_another_group() -> None:
    first = outside()
    first.submit("a")
    dies_in_a_send(first)

    second = with_group_made_anew(first)
    (early,) = second.handle_next()
    second.clock.advance(LEASE_S + EXECUTE_TIMEOUT_S)
    (late,) = second.handling.handle([early.delivery])

    assert isinstance(early, Retry)
    assert (early.delivery.count, early.delivery.charged) == (0, False)
    assert isinstance(late, Settled)
    assert second.executor.executed == ["a", "a"]


def test_send_does_not_begin_where_others_may_have_taken_the_order_up() -> None:
    first = outside()
    first.submit("slow", "a")

    def slowly(made: Order) -> Execution:
        # Others of its group are kept away by renewals meanwhile, those of another group are not.
        for _ in range(9):
            first.clock.advance(LEASE_S / 8)
            first.lease.renew()
        return filled(made)

    first.executor.instead["slow"] = slowly

    slow, later = first.handle_next()

    assert sorted([type(slow).__name__, type(later).__name__]) == ["Retry", "Settled"]
    assert first.executor.executed == ["slow"]


def test_one_of_two_that_take_an_order_up_at_once_sends_it() -> None:
    first = outside()
    first.submit("a")
    dies_in_a_send(first)
    first.clock.advance(LEASE_S + EXECUTE_TIMEOUT_S)
    second = with_group_made_anew(first)
    seen: list[Outcome] = []

    def third() -> None:
        seen.extend(with_group_made_anew(first).handle_next())

    (outcome,) = first_sends_while(second, third)

    assert isinstance(outcome, Settled)
    assert [type(each) for each in seen] == [Retry]


def test_order_is_not_taken_up_before_a_send_that_began_at_the_last_moment_has_ended() -> None:
    first = outside()
    first.submit("a")
    dies_in_a_send(first)
    first.clock.advance(LEASE_S + EXECUTE_TIMEOUT_S - 1)

    (early,) = with_group_made_anew(first).handle_next()
    first.clock.advance(1)
    (late,) = with_group_made_anew(first).handle_next()

    assert (type(early), type(late)) == (Retry, Settled)
