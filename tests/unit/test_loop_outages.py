"""The loop during outages: what is in hand is kept, nothing is done twice, nobody is charged."""

from collections.abc import Iterator

import pytest

from tests.fakes import Bench
from worker.domain.errors import Outage
from worker.domain.orders import Execution, Order

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.lease.stop()


@pytest.mark.parametrize("reply_lost", [False, True])
def test_outage_in_settle_keeps_the_outcomes_and_executes_nothing_again(
    bench: Bench, *, reply_lost: bool
) -> None:
    bench.submit("a", "b")
    bench.orders.faults.plant("settle", times=2, reply_lost=reply_lost)

    bench.run_until(lambda: bench.done)

    assert bench.executor.executed == ["a", "b"]
    assert [result["order_id"] for result in bench.stream.results] == ["a", "b"]
    assert bench.tally.filled == 2
    assert bench.store.faults.steps.count("record") == 1


@pytest.mark.parametrize("reply_lost", [False, True])
def test_outage_in_record_charges_nobody(bench: Bench, *, reply_lost: bool) -> None:
    (entry_id,) = bench.submit("a")
    bench.store.faults.plant("record", reply_lost=reply_lost)
    counts: list[int] = []
    bench.store.faults.on_step = lambda step: (
        counts.append(bench.pending[entry_id]) if step == "ping" else None
    )

    bench.run_until(lambda: bench.done)

    assert counts == [0]
    assert len(bench.stream.results) == 1
    assert bench.tally.outages == 1


def test_long_outage_of_the_database_is_no_poison(bench: Bench) -> None:
    bench.submit("a", "b")
    bench.store.faults.plant("record", times=50)

    bench.run_until(lambda: bench.done)

    assert len(bench.stream.results) == 2
    assert bench.stream.letters == []


def test_nothing_new_is_read_during_an_outage(bench: Bench) -> None:
    bench.submit("a")
    bench.store.faults.plant("record")
    bench.store.faults.plant("ping", times=20)

    def submit_another(step: str) -> None:
        if step == "ping":
            bench.submit("b")

    bench.orders.faults.on_step = submit_another

    bench.run_until(lambda: bench.done)

    steps = bench.orders.faults.steps
    first_settle = steps.index("settle")
    assert steps[:first_settle].count("read") == 1


def test_charge_that_can_not_be_taken_back_at_once_is_taken_back_later(bench: Bench) -> None:
    (entry_id,) = bench.submit("a")
    bench.store.faults.plant("record")
    bench.store.faults.plant("ping", times=3)
    bench.orders.faults.plant("charge", times=2)
    counts: list[int] = []
    bench.store.faults.on_step = lambda step: (
        counts.append(bench.pending[entry_id]) if step == "ping" else None
    )

    bench.run_until(lambda: bench.done)

    assert counts == [1, 1, 0, 0]


def test_entries_that_arrived_unseen_are_found_after_a_read_without_reply(bench: Bench) -> None:
    bench.submit("a", "b")
    bench.orders.faults.plant("read", reply_lost=True)
    started_at = bench.clock.seconds

    bench.run_until(lambda: bench.done)

    assert len(bench.stream.results) == 2
    assert bench.clock.seconds - started_at < 30, "waited for the lease instead of looking"


def test_outage_is_shown_while_it_lasts_and_not_after(bench: Bench) -> None:
    bench.submit("a")
    bench.store.faults.plant("record")
    shown: list[str] = []
    bench.store.faults.on_step = lambda step: (
        shown.append(str(bench.worker.outage)) if step == "ping" else None
    )

    bench.run_until(lambda: bench.done)

    assert shown == ["postgresql: record: never arrived"]
    assert bench.worker.outage is None


def test_outage_from_the_venue_waits_like_any_other(bench: Bench) -> None:
    bench.submit("a")
    refusals = [Outage("venue", "closed"), Outage("venue", "closed")]

    def execute(order: Order) -> Execution:
        if refusals:
            raise refusals.pop()
        return bench.executor.execute_by_default(order)

    bench.executor.instead["a"] = execute

    bench.run_until(lambda: bench.done)

    assert len(bench.stream.results) == 1
    assert bench.stream.letters == []


@pytest.mark.parametrize("server", ["redis", "postgresql"])
def test_server_is_reached_anew_at_each_try_to_go_on_and_by_everybody_when_it_is_back(
    bench: Bench, server: str
) -> None:
    bench.submit("a")
    port, other = (bench.orders, bench.store) if server == "redis" else (bench.store, bench.orders)
    port.faults.plant("settle" if server == "redis" else "record")
    port.faults.plant("ping", times=2)
    tries: list[int] = []
    port.faults.on_step = lambda step: tries.append(port.reconnections) if step == "ping" else None

    bench.run_until(lambda: bench.done)

    assert tries == [1, 2, 3]
    assert port.reconnections == 4
    assert other.reconnections == 0
