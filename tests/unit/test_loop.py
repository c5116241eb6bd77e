"""The loop on fakes: every entry comes to its one end, and the books balance."""

from collections.abc import Iterator

import msgspec
import pytest

from tests.builders import flat
from tests.fakes import Bench, FakeClock, FakeStream, FakeTable
from worker.domain.errors import Stopped
from worker.domain.orders import Execution, Order


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.lease.stop()


def test_every_entry_is_settled_and_the_consumer_leaves(bench: Bench) -> None:
    bench.submit("a", "b", "a")
    bench.submit("c", quantity="0")
    bench.submit("b", quantity="7")
    bench.stream.add(b"nothing", b"known")

    bench.run_until(lambda: bench.done)

    assert [result["order_id"] for result in bench.stream.results] == ["a", "b", "c"]
    assert len(bench.stream.letters) == 2
    assert bench.pending == {}
    assert bench.stream.group is not None
    assert bench.stream.group.consumers == set()


def test_counters_add_up_over_every_kind_of_outcome(bench: Bench) -> None:
    bench.submit("a", "b", "a")
    bench.submit("c", quantity="0")
    bench.submit("b", quantity="7")
    bench.stream.add(b"nothing", b"known")
    bench.submit("raises")
    bench.executor.instead["raises"] = _raise

    bench.run_until(lambda: bench.done)

    counted = {name: n for name, n in msgspec.structs.asdict(bench.tally).items() if n}
    del counted["batches"]
    assert counted == {"received": 7, "filled": 2, "duplicate": 1, "rejected": 1, "dead": 3}
    assert bench.books_balance


def test_executor_that_always_raises_ends_in_one_failed_letter(bench: Bench) -> None:
    (entry_id,) = bench.submit("a")
    bench.executor.instead["a"] = _raise

    bench.run_until(lambda: bench.done)

    letter = bench.stream.letter(entry_id)
    assert (letter["reason"], letter["deliveries"]) == ("failed", "5")
    assert bench.executor.executed == ["a"] * 5
    assert bench.stream.results == []


def test_loop_stops_when_its_lease_thread_has_ended(bench: Bench) -> None:
    bench.lease.start()
    bench.lease.stop()

    with pytest.raises(Stopped):
        bench.worker.refill()


def test_entry_lost_to_another_replica_counts_as_handed_back(bench: Bench) -> None:
    bench.submit("a", "b")
    bench.executor.instead["a"] = lambda order: _stolen_after_a_long_sleep(bench, order)

    bench.run_until(lambda: True)

    assert bench.rows.keys() == {"b"}
    assert (bench.tally.filled, bench.tally.handed_back) == (1, 1)
    assert bench.books_balance


def test_two_replicas_share_a_backlog_without_executing_anything_twice() -> None:
    stream, table = FakeStream(FakeClock()), FakeTable()
    replicas = [Bench(stream, table, consumer=f"worker-{i}", batch_size=7) for i in range(2)]
    for i in range(50):
        stream.add(*flat(order_id=f"order-{i}"))

    while any(replica.orders.faults.steps.count("read") < 10 for replica in replicas):
        for replica in replicas:
            replica.worker.in_hand = replica.intake.take()
            replica.worker.work_through()

    executed = [order_id for replica in replicas for order_id in replica.executor.executed]
    assert sorted(executed) == sorted(f"order-{i}" for i in range(50))
    assert len(stream.results) == 50
    assert all(replica.executor.executed and replica.books_balance for replica in replicas)


def _raise(_order: Order) -> Execution:
    raise ValueError("boom")


def _stolen_after_a_long_sleep(bench: Bench, order: Order) -> Execution:
    assert bench.stream.group is not None
    bench.clock.advance(31)
    stolen = bench.stream.group.pending[order.entry_id]
    stolen.consumer, stolen.since_ms = "somebody else", bench.clock.milliseconds()
    return bench.executor.execute_by_default(order)
