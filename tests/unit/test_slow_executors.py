"""Executors that take their time: groups of about a second, a drain heard between orders, a lost lease."""

from collections.abc import Callable, Iterator

import pytest

from tests.builders import filled
from tests.fakes import Bench, FakeVenue
from worker.consumer import Pace
from worker.domain.deliveries import Left, Settled
from worker.domain.orders import Execution, Order, Status

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(batch_size=500)
    yield made
    made.lease.stop()


def taking(bench: Bench, seconds: float, then: Callable[[Order], None] = lambda _order: None) -> None:
    """Have each execution take so long."""

    def execute(order: Order) -> Execution:
        bench.clock.advance(seconds)
        then(order)
        return filled(order)

    bench.executor.execute = execute  # type: ignore[method-assign]


def names(count: int) -> list[str]:
    return [f"o{i}" for i in range(count)]


def test_group_ends_after_a_second_and_the_next_is_of_a_size_that_takes_one(bench: Bench) -> None:
    taking(bench, 0.08)
    bench.submit(*names(500))
    settled: list[int] = []
    bench.orders.faults.on_step = lambda step: settled.append(len(bench.rows)) if step == "settle" else None

    bench.run_until(lambda: bench.done)

    sizes = [after - before for before, after in zip([0, *settled], settled, strict=False)]
    assert sizes[0] == 13
    assert set(sizes[1:-1]) == {12}
    assert len(bench.stream.results) == 500
    assert bench.books_balance


def test_no_more_is_read_than_takes_about_a_second(bench: Bench) -> None:
    taking(bench, 0.25)
    bench.submit(*names(500))
    bench.run_until(lambda: bench.done)
    bench.submit(*names(10))

    taken = bench.intake.take()

    assert len(taken) == 4


def test_quick_executions_are_taken_in_whole_batches(bench: Bench) -> None:
    bench.submit(*names(1000))

    bench.run_until(lambda: bench.done)

    assert bench.tally.batches == 2


def test_size_at_most_doubles_with_each_group_that_was_quick() -> None:
    bench = Bench()
    pace = Pace(most=500, clock=bench.clock.monotonic, leaving=lambda: False)
    pace.begin()
    bench.clock.advance(3)
    pace.end(1)
    sizes = [pace.at_once]

    for _ in range(4):
        pace.begin()
        bench.clock.advance(0.001)
        pace.end(sizes[-1])
        sizes.append(pace.at_once)

    assert sizes == [1, 2, 4, 8, 16]


def test_every_order_is_watched_however_slow_its_group_is(bench: Bench) -> None:
    taking(bench, 5)
    bench.submit(*names(20))

    bench.run_until(lambda: bench.done)

    assert len([each for each in bench.executing if each is not None]) == 20


def test_drain_begins_no_other_execution_settles_what_is_done_and_releases_the_rest_uncharged(
    bench: Bench,
) -> None:
    taking(bench, 0.2, then=lambda order: bench.drain.request() if order.order_id == "o2" else None)
    entry_ids = bench.submit(*names(500))

    bench.worker.run()

    assert sorted(bench.rows) == ["o0", "o1", "o2"]
    assert len(bench.stream.results) == 3
    assert bench.pending == dict.fromkeys(entry_ids[3:], 0)
    assert (bench.tally.handed_back, bench.tally.in_hand) == (497, 0)
    assert bench.books_balance


def test_what_a_drain_releases_is_taken_by_others_at_once_with_its_counts_unchanged(bench: Bench) -> None:
    taking(bench, 0.2, then=lambda order: bench.drain.request() if order.order_id == "o2" else None)
    bench.submit(*names(20))
    bench.worker.run()
    other = Bench(bench.stream, bench.store.table, consumer="worker-2")

    taken = other.intake.take()

    assert [(each.count, each.charged) for each in taken] == [(0, False)] * 17


def test_group_that_was_claimed_and_not_begun_in_time_is_asked_about_once_more(bench: Bench) -> None:
    taking(bench, 0.4)
    bench.submit(*names(5))
    Bench(bench.stream, consumer="dead").orders.read(5, 1)
    bench.clock.advance(31)

    first, rest = bench.handle_next(), bench.lease.held

    assert [type(each) for each in first].count(Settled) == 3
    left = [each.delivery for each in first if isinstance(each, Left)]
    assert [(each.count, each.charged) for each in left] == [(1, False)] * 2
    assert len(rest) == 5


def test_order_that_was_lost_meanwhile_is_not_executed(bench: Bench) -> None:
    def lose_the_rest(order: Order) -> None:
        if order.order_id == "o0":
            bench.clock.advance(31)
            Bench(bench.stream, consumer="other").orders.claim("0-0", 10)
            bench.lease.renew()

    taking(bench, 0, then=lose_the_rest)
    bench.submit(*names(3))

    bench.handle_next()

    assert [each for each in bench.executing if each is not None] == ["o0"]


def test_drain_waits_for_what_was_announced_to_be_sent_within_a_second() -> None:
    bench = Bench(batch_size=4, executor=FakeVenue(filled))
    taking(bench, 0.2, then=lambda order: bench.drain.request() if order.order_id == "o1" else None)
    bench.submit(*names(4))

    bench.worker.run()
    bench.lease.stop()

    assert [row.status for row in bench.rows.values()] == [Status.FILLED] * 4
    assert bench.books_balance


def test_drain_leaves_what_was_announced_where_the_venue_has_become_slow() -> None:
    bench = Bench(batch_size=4, executor=FakeVenue(filled))
    taking(bench, 2, then=lambda order: bench.drain.request() if order.order_id == "o1" else None)
    entry_ids = bench.submit(*names(4))

    bench.worker.run()
    bench.lease.stop()

    submitted = {name for name, row in bench.rows.items() if row.status is Status.SUBMITTED}
    assert submitted == {"o2", "o3"}
    assert len(bench.stream.results) == 2
    assert bench.pending == dict.fromkeys(entry_ids[2:], 0)
    assert bench.books_balance
