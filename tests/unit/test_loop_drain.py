"""The loop at its end: what is committed is settled, what was not begun is handed back uncharged."""

from collections.abc import Iterator

import pytest

from tests.fakes import Bench
from worker.domain.orders import Execution, Order

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.lease.stop()


def test_drain_between_refill_and_work_hands_back_and_takes_the_charge_back(bench: Bench) -> None:
    (entry_id,) = bench.submit("a")
    bench.orders.faults.on_step = lambda step: bench.drain.request() if step == "read" else None

    bench.worker.run()

    assert bench.pending == {entry_id: 0}
    assert bench.executor.executed == []
    assert bench.tally.handed_back == 1
    assert bench.books_balance


def test_entry_that_was_handed_back_is_claimable_by_others_at_once(bench: Bench) -> None:
    bench.submit("a")
    bench.orders.faults.on_step = lambda step: bench.drain.request() if step == "read" else None
    bench.worker.run()
    other = Bench(bench.stream, bench.store.table, consumer="worker-2")

    (taken,) = other.intake.take()

    assert (taken.count, taken.charged) == (0, False)


def test_nothing_is_renewed_any_more_when_it_is_handed_back(bench: Bench) -> None:
    bench.submit("a")
    renewing: list[bool] = []

    def watch(step: str) -> None:
        if step == "read":
            bench.drain.request()
        if step == "release":
            renewing.append(bench.lease.renewing)

    bench.orders.faults.on_step = watch

    bench.worker.run()

    assert renewing == [False]


def test_retry_that_waits_is_handed_back_with_its_charge(bench: Bench) -> None:
    (entry_id,) = bench.submit("a")
    bench.executor.instead["a"] = _raise

    bench.run_until(lambda: True)

    assert bench.pending == {entry_id: 1}
    assert bench.books_balance


def test_drain_during_an_outage_of_settle_settles_what_is_committed(bench: Bench) -> None:
    bench.submit("a")
    bench.orders.faults.plant("settle")
    bench.orders.faults.on_step = lambda step: bench.drain.request() if step == "settle" else None

    bench.worker.run()

    assert len(bench.stream.results) == 1
    assert bench.pending == {}


def test_second_request_to_leave_settles_nothing_more(bench: Bench) -> None:
    bench.submit("a")

    def ask_twice(step: str) -> None:
        if step == "record":
            bench.drain.request()
            bench.drain.request()

    bench.store.faults.on_step = ask_twice

    bench.worker.run()

    assert "settle" not in bench.orders.faults.steps
    assert list(bench.pending.values()) == [0]
    assert bench.rows.keys() == {"a"}


def test_outage_that_does_not_end_is_left_by_a_drain(bench: Bench) -> None:
    bench.submit("a")
    bench.store.faults.plant("record")
    bench.store.faults.plant("ping", times=1000)
    attempts: list[str] = []

    def note(step: str) -> None:
        attempts.append(step)
        if attempts.count("ping") == 3:
            bench.drain.request()

    bench.store.faults.on_step = note

    bench.worker.run()

    assert attempts.count("ping") == 3
    assert list(bench.pending.values()) == [0]


def test_outage_while_handing_back_leaves_the_rest_to_the_lease(bench: Bench) -> None:
    bench.submit("a")
    bench.orders.faults.on_step = lambda step: bench.drain.request() if step == "read" else None
    bench.orders.faults.plant("release")

    bench.worker.run()

    assert list(bench.pending.values()) == [1]
    assert (bench.tally.in_hand, bench.tally.handed_back) == (1, 0)


def _raise(_order: Order) -> Execution:
    raise ValueError("boom")
