"""Thousands of orders fail: a batch waits in hand, the rest on the stream, and good ones come in between."""

from collections.abc import Callable, Iterator

import pytest

from tests.builders import filled
from tests.fakes import Bench
from worker.domain.orders import Execution, Order, Status

pytestmark = pytest.mark.usefixtures("short_waits")

LEASE_S = 30


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(batch_size=10, max_deliveries=3)
    yield made
    made.lease.stop()


def failing(bench: Bench, count: int) -> list[str]:
    def fail(order: Order) -> Execution:
        # So that those of before are due by then.
        bench.clock.advance(0.05)
        raise ValueError(order.order_id)

    names = [f"bad{i}" for i in range(count)]
    for name in names:
        bench.executor.instead[name] = fail
    return bench.submit(*names)


def executed_until(bench: Bench, condition: Callable[[], object]) -> list[str]:
    bench.run_until(condition)
    return bench.executor.executed


def test_good_orders_wait_behind_one_that_failed_before_at_most(bench: Bench) -> None:
    failing(bench, 60)
    bench.submit(*(f"good{i}" for i in range(40)))

    executed = executed_until(bench, lambda: bench.done)

    first_good = executed.index("good0")
    # All bad ones came first once; whatever else was executed before was one between two batches.
    assert first_good <= 60 + 60 / 10 + 1
    last_good = max(place for place, name in enumerate(executed) if name.startswith("good"))
    between = [name for name in executed[first_good:last_good] if name.startswith("bad")]
    assert len(between) <= 40 / 10
    assert len(bench.stream.letters) == 60
    assert {letter for letter in bench.executor.executed if letter.startswith("good")} == {
        result["order_id"] for result in bench.stream.results
    }
    assert bench.books_balance


def test_no_more_than_a_batch_of_those_that_failed_is_in_hand_and_the_rest_keeps_its_charge(
    bench: Bench,
) -> None:
    failing(bench, 60)
    held: list[int] = []
    counts: list[set[int]] = []

    def look(step: str) -> None:
        if step == "read":
            held.append(len(bench.lease.held))
            counts.append({count for each, count in bench.pending.items() if each not in bench.lease.held})

    bench.orders.faults.on_step = look

    executed = executed_until(bench, lambda: bench.done)

    assert max(held) <= 20
    assert {1} in counts
    # Nobody is charged for less, or for more.
    assert all(executed.count(f"bad{i}") == 3 for i in range(60))
    assert bench.books_balance


def test_release_that_fails_is_repeated_and_nothing_is_waited_for_twice(bench: Bench) -> None:
    entry_ids = failing(bench, 15)
    bench.orders.faults.plant("release", reply_lost=True)
    bench.orders.faults.plant("settle", reply_lost=True, times=2)

    executed_until(bench, lambda: bench.done)

    assert sorted(bench.stream.letter(each)["entry_id"] for each in entry_ids) == sorted(entry_ids)
    assert bench.books_balance


def test_group_that_died_once_makes_way_after_one_that_failed(bench: Bench) -> None:
    failing(bench, 5)
    Bench(bench.stream, consumer="dead").orders.read(5, 1)
    bench.clock.advance(LEASE_S + 1)

    outcomes = bench.handle_next()
    bench.worker.in_hand = [each.delivery for each in outcomes]
    bench.worker.settle(outcomes)
    (new,) = bench.submit("good")
    (taken,) = bench.intake.take()

    assert bench.executor.executed == ["bad0"]
    assert taken.entry_id == new


def test_entries_that_were_trimmed_are_asked_about_page_after_page() -> None:
    bench = Bench(batch_size=10)
    entry_ids = bench.submit(*(f"o{i}" for i in range(95)))
    Bench(bench.stream, consumer="dead").orders.read(95, 1)
    for each in entry_ids:
        del bench.stream.entries[each]
    # Noted by the first look, asked about by the first one that comes a lease later.
    bench.clock.advance(LEASE_S + 1)
    bench.intake.take()
    bench.clock.advance(LEASE_S + 1)
    began_at = bench.clock.seconds

    bench.run_until(lambda: len(bench.stream.letters) == 95)
    bench.lease.stop()

    assert bench.clock.seconds - began_at < LEASE_S / 4
    assert bench.books_balance


def test_trimmed_entries_that_are_in_hand_are_not_asked_about_without_end() -> None:
    bench = Bench(batch_size=2)
    bench.stream.trimmed.update(dict.fromkeys(("1-1", "1-2", "1-3"), 0))
    first = bench.intake.take()

    second = bench.intake.take()

    assert [each.entry_id for each in first] == ["1-1", "1-2"]
    assert second == []


def test_what_waits_comes_between_new_batches_though_some_of_each_fails() -> None:
    bench = Bench(batch_size=50)
    tries: list[float] = []

    def fail(_order: Order) -> Execution:
        raise ValueError("no")

    def fail_once(order: Order) -> Execution:
        tries.append(bench.clock.seconds)
        return fail(order) if len(tries) == 1 else filled(order)

    bench.executor.instead["first"] = fail_once
    bench.submit("first")
    bench.lease.start()

    for batch in range(10):
        names = [f"{batch}-{place}" for place in range(50 if batch else 49)]
        bench.executor.instead[names[0]] = fail
        bench.submit(*names)
        bench.clock.advance(1)
        bench.worker.refill()
        bench.worker.work_through()
    bench.lease.stop()

    assert len(tries) == 2
    assert bench.rows["first"].status is Status.FILLED
