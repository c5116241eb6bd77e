"""What was brought for claimed entries stays in hand as what was read does, for as long, and no longer."""

from collections.abc import Iterator

import pytest

from tests.builders import filled, flat
from tests.fakes import Bench, FakeVenue
from tests.groups import Pending
from worker.domain.deliveries import size_of
from worker.domain.orders import Execution, Order, Status

pytestmark = pytest.mark.usefixtures("short_waits")

BATCH_BYTES = 100_000
LARGE = "x" * 40_000
LONG_S = 2000
TAKEN = pytest.mark.parametrize("how", ["claimed", "read"])


def waiting(bench: Bench, how: str, *notes: str) -> list[str]:
    """Return orders that are new, or that a dead consumer left."""
    entry_ids = [bench.stream.add(*flat(order_id=f"o{place}", note=note)) for place, note in enumerate(notes)]
    if how == "claimed":
        bench.abandon(entry_ids, [0] * len(entry_ids))
    return entry_ids


def run_for(bench: Bench, seconds: float) -> None:
    ends_at = bench.clock.seconds + seconds
    bench.run_until(lambda: bench.clock.seconds > ends_at)


def fail(_order: Order) -> Execution:
    raise ValueError("no")


@pytest.fixture
def venue() -> FakeVenue:
    return FakeVenue(filled)


@TAKEN
def test_what_was_brought_stays_in_hand_for_an_outage_though_its_entry_is_trimmed(how: str) -> None:
    bench = Bench()
    (entry_id,) = waiting(bench, how, "small")

    def trim(step: str) -> None:
        if step == "record":
            bench.stream.entries.pop(entry_id, ())

    bench.store.faults.plant("record")
    bench.store.faults.on_step = trim

    run_for(bench, LONG_S)

    assert [row.status for row in bench.rows.values()] == [Status.FILLED]
    assert (len(bench.stream.results), len(bench.stream.letters)) == (1, 0)


@TAKEN
def test_what_was_brought_stays_in_hand_for_an_outage_though_its_stream_is_deleted(how: str) -> None:
    bench = Bench()
    waiting(bench, how, "small")
    bench.store.faults.plant("record")
    bench.store.faults.on_step = lambda step: bench.stream.delete_orders() if step == "record" else None

    run_for(bench, LONG_S)

    assert [row.status for row in bench.rows.values()] == [Status.FILLED]
    assert len(bench.stream.results) == 1


@TAKEN
def test_answer_of_the_venue_is_written_after_an_outage_though_the_stream_was_deleted(
    how: str, venue: FakeVenue
) -> None:
    bench = Bench(executor=venue)
    waiting(bench, how, "small")
    bench.store.faults.plant("resolve", times=2)
    bench.store.faults.on_step = lambda step: bench.stream.delete_orders() if step == "resolve" else None

    run_for(bench, LONG_S)

    assert list(venue.book) == ["o0"]
    assert bench.rows["o0"].status is Status.FILLED


@TAKEN
def test_answer_of_the_venue_is_kept_for_an_outage_though_its_entry_is_trimmed_and_others_come(
    how: str, venue: FakeVenue
) -> None:
    bench = Bench(executor=venue)
    (entry_id,) = waiting(bench, how, "small")

    def not_any_more(order_id: str) -> Execution | None:
        if order_id in venue.book:
            raise LookupError("the venue keeps open orders only")
        return None

    def trim(step: str) -> None:
        if step == "resolve" and bench.stream.entries.pop(entry_id, ()):
            bench.submit("another")

    venue.find_instead["o0"] = not_any_more
    bench.store.faults.plant("resolve", times=2)
    bench.store.faults.on_step = trim

    run_for(bench, LONG_S)

    assert bench.rows["o0"].status is Status.FILLED


def test_what_was_brought_is_not_brought_again_after_an_outage() -> None:
    bench = Bench()
    waiting(bench, "claimed", "small")
    bench.store.faults.plant("record", times=3)

    bench.run_until(lambda: bench.done)

    assert bench.orders.faults.steps.count("fetch") == 1
    assert bench.executor.executed == ["o0"] * 4


def test_what_was_brought_stays_in_hand_though_an_error_strikes_that_nobody_expected() -> None:
    bench = Bench()
    (entry_id,) = waiting(bench, "claimed", "small")
    struck: list[str] = []

    def strike(step: str) -> None:
        if step == "record" and not struck:
            struck.append(step)
            del bench.stream.entries[entry_id]
            raise RuntimeError("no one expected it")

    bench.store.faults.on_step = strike

    run_for(bench, LONG_S)

    assert [row.status for row in bench.rows.values()] == [Status.FILLED]


@pytest.fixture
def small_bench() -> Iterator[Bench]:
    made = Bench(batch_bytes=BATCH_BYTES, batch_size=10, max_deliveries=3)
    made.lease.start()
    yield made
    made.lease.stop()


def test_nothing_stays_decoded_of_what_was_left_to_others(small_bench: Bench) -> None:
    bench = small_bench
    for place in range(40):
        bench.executor.instead[f"o{place}"] = fail
    waiting(bench, "read", *[LARGE] * 40)

    for _ in range(12):
        bench.worker.refill()
        bench.worker.work_through()

    decoded = bench.handling._decoder._decoded  # type: ignore[attr-defined]  # noqa: SLF001
    assert sum(size_of(fields) for fields, _ in decoded.values()) <= 3 * BATCH_BYTES


def test_what_is_in_doubt_waits_without_its_body() -> None:
    bench = Bench()
    waiting(bench, "claimed", *[LARGE] * 10)
    bench.run_until(lambda: bench.done)
    other = Bench(
        bench.stream, bench.store.table, consumer="worker-2",
        batch_bytes=BATCH_BYTES, batch_size=10, repair_window_s=0,
    )  # fmt: skip
    assert other.stream.group is not None
    for entry_id in other.stream.entries:
        other.stream.group.pending[entry_id] = Pending("dead", 0, 1)
    other.stream.lose_marks()
    other.marks.begin_walk = lambda: False  # type: ignore[method-assign]

    other.lease.start()
    for _ in range(20):
        other.worker.refill()
        other.worker.work_through()
    other.lease.stop()

    in_doubt = other.repair.doubts.deliveries
    assert len(in_doubt) == 10
    assert sum(size_of(each.fields) for each in in_doubt) == 0


def test_what_was_left_is_begun_in_its_order() -> None:
    bench = Bench(batch_bytes=BATCH_BYTES)
    waiting(bench, "claimed", *["x" * 30_000] * 6)

    def slow(order: Order) -> Execution:
        bench.clock.advance(1.1)
        return filled(order)

    bench.executor.execute_by_default = slow

    bench.run_until(lambda: bench.done)

    assert bench.executor.executed == [f"o{place}" for place in range(6)]
