"""A batch read before the loop comes to it: only where more is waiting, and in hand like any other."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from tests.builders import decoder, delivery, filled, flat
from tests.fakes import Bench
from worker.consumer import PreparedDecoder
from worker.domain.orders import Execution, Order, Undecodable

LEASE_S = 30


pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(batch_size=2)
    yield made
    made.lease.stop()


def ids(bench: Bench) -> list[str]:
    return [result["order_id"] for result in bench.stream.results]


def test_next_batch_is_asked_for_before_the_commit_of_a_full_one_and_arrives_while_it_is_settled(
    bench: Bench,
) -> None:
    bench.submit("a", "b", "c", "d")
    steps: list[str] = []
    for faults in (bench.orders.faults, bench.store.faults):
        faults.on_step = steps.append

    bench.run_until(lambda: bench.done)

    around = [step for step in steps if step in {"read", "read_ahead", "record", "settle", "arrived"}]
    assert around[:8] == [
        "read",
        "read_ahead",
        "record",
        "settle",
        "arrived",
        "read_ahead",
        "record",
        "settle",
    ]
    assert ids(bench) == ["a", "b", "c", "d"]
    assert bench.executor.executed == ["a", "b", "c", "d"]


def test_nothing_is_read_ahead_where_nothing_more_was_waiting(bench: Bench) -> None:
    bench.submit("a")

    bench.run_until(lambda: bench.done)

    assert "read_ahead" not in bench.orders.faults.steps


def test_batch_that_was_read_ahead_is_kept_while_an_outage_lasts(bench: Bench) -> None:
    bench.submit("a", "b", "c", "d")
    bench.store.faults.plant("record")
    held: list[int] = []
    bench.store.faults.on_step = lambda step: held.append(len(bench.lease.held)) if step == "ping" else None

    bench.run_until(lambda: bench.done)

    assert held == [4]
    assert ids(bench) == ["a", "b", "c", "d"]
    assert bench.books_balance


@pytest.mark.parametrize("reply_lost", [False, True])
@pytest.mark.parametrize("step", ["read_ahead", "arrived"])
def test_batch_that_was_read_ahead_and_not_seen_is_looked_for(
    bench: Bench, step: str, *, reply_lost: bool
) -> None:
    bench.submit("a", "b", "c", "d")
    bench.orders.faults.plant(step, reply_lost=reply_lost)
    began_at = bench.clock.seconds

    bench.run_until(lambda: len(bench.stream.results) == 4)

    # By itself: nobody waits for the lease.
    assert bench.clock.seconds - began_at < LEASE_S
    assert sorted(ids(bench)) == ["a", "b", "c", "d"]
    assert bench.tally.outages == 0
    assert bench.books_balance


def test_batch_whose_lease_ran_out_before_it_arrived_is_left_to_its_new_owner(bench: Bench) -> None:
    bench.submit("a", "b", "c", "d")
    other = Bench(bench.stream, bench.store.table, consumer="worker-2")

    def slow_commit(step: str) -> None:
        if step == "record" and bench.clock.seconds < began_at + LEASE_S:
            bench.clock.advance(LEASE_S + 1)
            bench.lease.renew()
            other.orders.claim("0-0", 10)

    began_at = bench.clock.seconds
    bench.store.faults.on_step = slow_commit
    outcomes = bench.handle_next()
    bench.worker.settle(outcomes)

    assert bench.handle_next() == []


@pytest.mark.parametrize(("requests", "left"), [(1, 2), (2, 4)], ids=["drain", "hurried drain"])
def test_drain_hands_back_what_was_read_ahead_uncharged(bench: Bench, requests: int, left: int) -> None:
    entry_ids = bench.submit("a", "b", "c", "d")[-left:]

    def leave(step: str) -> None:
        for _ in range(requests if step == "record" else 0):
            bench.drain.request()

    bench.store.faults.on_step = leave

    bench.worker.run()

    assert bench.pending == dict.fromkeys(entry_ids, 0)
    page = Bench(bench.stream, consumer="worker-2").orders.claim("0-0", 10)
    assert [each.entry_id for each in page.deliveries] == entry_ids
    assert bench.tally.handed_back == left
    assert bench.books_balance


def test_what_is_decoded_ahead_is_decoded_once() -> None:
    inner = decoder()
    ahead = PreparedDecoder(inner)
    entry = delivery("5-1", flat(order_id="a", unknown="x"))

    ahead.prepare([entry])
    order = ahead.decode(entry)

    assert isinstance(order, Order)
    assert order.order_id == "a"
    assert inner.unknown_fields == 1


def test_delivery_in_hand_is_decoded_and_looked_at_once_however_often_its_outcome_is_tried_for() -> None:
    inner, looked = decoder(), list[object]()
    ahead = PreparedDecoder(inner, looked.append)
    entry, next_entry = (delivery(f"5-{n}", flat(order_id="a", unknown="x")) for n in (1, 2))

    first = ahead.decode(entry)
    ahead.prepare([next_entry])
    again = ahead.decode(replace(entry, count=2, charged=False))
    ahead.decode(next_entry)

    assert first is again
    assert len(looked) == 2
    assert inner.unknown_fields == 2


def test_unknown_fields_are_counted_once_when_outages_and_failures_have_an_order_tried_again(
    bench: Bench,
) -> None:
    inner = decoder()
    ahead = PreparedDecoder(inner)
    bench.handling._decoder = ahead  # noqa: SLF001  to count what it counts
    bench.store.faults.plant("record")
    bench.store.faults.plant("record")
    failures = [RuntimeError("first"), RuntimeError("second")]
    bench.submit("a", unknown="x")
    bench.submit("b", unknown="x")

    def fail_twice(order: Order) -> Execution:
        if failures:
            raise failures.pop()
        return filled(order)

    bench.executor.instead["a"] = fail_twice

    bench.run_until(lambda: len(bench.stream.results) == 2)

    assert not failures
    assert inner.unknown_fields == 2
    assert ahead._decoded == {}  # noqa: SLF001  what has its outcome is not kept


def test_entry_with_the_id_of_one_that_was_lost_is_decoded_anew() -> None:
    ahead = PreparedDecoder(decoder())
    ahead.prepare([delivery("5-1", flat(order_id="a"))])

    order = ahead.decode(delivery("5-1", flat(order_id="b")))

    assert not isinstance(order, Undecodable)
    assert order.order_id == "b"
