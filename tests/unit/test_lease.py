"""Keeping what is in hand: renewed in time, lost noticed, a dead thread noticed."""

from threading import Event

import pytest

from tests.fakes import Bench, FakeOrders
from tests.harness import eventually
from worker.consumer import Lease
from worker.domain.deliveries import Delivery
from worker.domain.errors import Outage, Stopped

LEASE_S = 30


def steal(bench: Bench, entry_id: str) -> None:
    assert bench.stream.group is not None
    bench.stream.group.pending[entry_id].consumer = "somebody else"


def test_renewed_entries_are_not_claimable_by_others() -> None:
    bench = Bench()
    bench.submit("a")
    bench.intake.take()
    bench.clock.advance(LEASE_S - 1)
    bench.lease.renew()
    bench.clock.advance(LEASE_S - 1)

    page = Bench(bench.stream, consumer="worker-2").orders.claim("0-0", 10)

    assert page.deliveries == []


def test_stolen_entry_is_reported_lost_and_not_renewed_any_more() -> None:
    bench = Bench()
    bench.submit("a", "b")
    first, second = bench.intake.take()
    steal(bench, first.entry_id)

    bench.lease.renew()

    assert bench.lease.lost([first, second]) == {first.entry_id}
    assert bench.lease.held == {second.entry_id}


def test_lost_entry_is_forgotten_once_the_loop_lets_it_go() -> None:
    bench = Bench()
    bench.submit("a")
    taken = bench.intake.take()
    steal(bench, taken[0].entry_id)
    bench.lease.renew()

    bench.lease.let_go(taken)

    assert bench.lease.lost(taken) == set()


def test_entry_that_comes_again_after_it_was_lost_is_held_by_its_new_delivery_alone() -> None:
    bench = Bench()
    bench.submit("a")
    (before,) = bench.intake.take()
    steal(bench, before.entry_id)
    bench.lease.renew()
    bench.clock.advance(LEASE_S + 1)

    (again,) = bench.intake.take()
    lost = [bench.lease.lost([each]) for each in (before, again)]
    bench.lease.let_go([before])
    bench.lease.renew()

    assert (before.entry_id, before.hold) != (again.entry_id, again.hold)
    assert lost == [{before.entry_id}, set()]
    assert bench.lease.held == {again.entry_id}


def test_entry_that_comes_again_during_a_renewal_is_not_lost_by_the_answer() -> None:
    bench = Bench()
    bench.submit("a")
    (before,) = bench.intake.take()
    again: list[Delivery] = []

    def come_again(step: str) -> None:
        if step == "renew" and not again:
            bench.lease.let_go([before])
            again.extend(bench.lease.hold([before]))

    steal(bench, before.entry_id)
    bench.orders.faults.on_step = come_again

    bench.lease.renew()

    assert bench.lease.lost(again) == set()
    assert bench.lease.held == {before.entry_id}


def test_settled_entry_is_not_lost_when_the_loop_let_it_go_during_a_renewal() -> None:
    bench = Bench()
    bench.submit("a")
    taken = bench.intake.take()
    steal(bench, taken[0].entry_id)
    bench.orders.faults.on_step = lambda _step: bench.lease.let_go(taken)

    bench.lease.renew()

    assert bench.lease.lost(taken) == set()


def test_lost_does_not_ask_while_the_last_renewal_is_fresh() -> None:
    bench = Bench()
    bench.submit("a")
    taken = bench.intake.take()
    bench.lease.renew()
    bench.clock.advance(LEASE_S - 1)

    bench.lease.lost(taken)

    assert bench.orders.faults.steps.count("renew") == 1


def test_lost_asks_first_when_the_last_renewal_is_older_than_the_lease() -> None:
    bench = Bench()
    bench.submit("a")
    taken = bench.intake.take()
    steal(bench, taken[0].entry_id)
    bench.clock.advance(LEASE_S + 1)

    lost = bench.lease.lost(taken)

    assert lost == {taken[0].entry_id}


def test_lost_is_an_outage_when_it_has_to_ask_and_nobody_answers() -> None:
    bench = Bench()
    bench.submit("a")
    taken = bench.intake.take()
    bench.clock.advance(LEASE_S + 1)
    bench.orders.faults.plant("renew")

    with pytest.raises(Outage):
        bench.lease.lost(taken)


def test_failed_renewal_does_not_count_as_one() -> None:
    bench = Bench()
    bench.submit("a")
    taken = bench.intake.take()
    bench.clock.advance(LEASE_S + 1)
    bench.orders.faults.plant("renew")
    with pytest.raises(Outage):
        bench.lease.renew()

    bench.lease.lost(taken)

    assert bench.orders.faults.steps.count("renew") == 2


def test_slow_renewal_counts_from_when_it_was_asked_for() -> None:
    bench = Bench()
    bench.submit("a")
    taken = bench.intake.take()
    bench.orders.faults.on_step = lambda _step: bench.clock.advance(LEASE_S + 1)
    bench.lease.renew()
    bench.orders.faults.on_step = lambda _step: None

    bench.lease.lost(taken)

    assert bench.orders.faults.steps.count("renew") == 2


def test_thread_renews_at_a_quarter_of_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    waits: list[float | None] = []
    lease = Lease(bench.orders, lease_ms=20_000, clock=bench.clock.monotonic)

    def wait(_self: Event, timeout: float | None = None) -> bool:
        waits.append(timeout)
        return True

    with monkeypatch.context() as patched:
        patched.setattr(Event, "wait", wait)
        lease._run()  # noqa: SLF001  the thread's body, in this one

    assert waits == [5.0]


def test_thread_outlives_an_outage() -> None:
    bench = Bench()
    lease = _short(bench.orders, bench)
    bench.submit("a")
    lease.hold(bench.orders.read(1, 1))
    bench.orders.faults.plant("renew", times=3)

    lease.start()

    eventually(lambda: bench.orders.faults.steps.count("renew") >= 5, within=5)
    lease.check()
    lease.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_check_raises_stopped_when_the_thread_has_died() -> None:
    bench = Bench()
    lease = _short(bench.orders, bench)
    bench.submit("a")
    lease.hold(bench.orders.read(1, 1))
    bench.orders.faults.on_step = _die

    lease.start()

    def stopped() -> bool:
        try:
            lease.check()
        except Stopped:
            return True
        return False

    eventually(stopped, within=5)


def test_stop_ends_the_thread() -> None:
    bench = Bench()
    lease = _short(bench.orders, bench)
    lease.start()

    lease.stop()

    with pytest.raises(Stopped):
        lease.check()


def _short(orders: FakeOrders, bench: Bench) -> Lease:
    return Lease(orders, lease_ms=8, clock=bench.clock.monotonic)


def _die(_step: str) -> None:
    raise RuntimeError("a bug")
