"""The repair each replica does by itself: what was committed lately and is not settled goes out, once, beside the work."""

import pytest
import structlog
from msgspec.structs import replace

from tests.builders import dead_record, record
from tests.fakes import Bench
from worker.consumer.repair import PAGE
from worker.domain.orders import Status


def committed(bench: Bench, *order_ids: str, seconds_ago: float = 10) -> None:
    """Rows that were committed, and of which Redis knows nothing."""
    bench.clock.advance(seconds_ago)
    at = bench.clock.now()
    for number, order_id in enumerate(order_ids):
        entry_id = f"{number + 1}-{len(bench.rows) + 1}"
        bench.rows[order_id] = record(order_id, entry_id=entry_id, executed_at=at)
    bench.clock.advance(seconds_ago)


def published(bench: Bench) -> list[str]:
    return sorted(result["order_id"] for result in bench.stream.results)


def test_lost_results_are_published_at_start() -> None:
    bench = Bench()
    committed(bench, "a", "b")

    bench.run_until(lambda: bench.mending.notes)

    assert published(bench) == ["a", "b"]
    (note,) = bench.mending.notes
    assert (note["how"], note["looked_at"], note["published"]) == ("replica", "2", "2")


def test_row_without_a_letter_is_buried_at_start() -> None:
    bench = Bench()
    committed(bench)
    bench.rows["a"] = replace(dead_record("a", error="poison: it kills"), executed_at=bench.clock.now())

    bench.run_until(lambda: bench.stream.letters)

    letter = bench.stream.letter("1-1")
    assert (letter["reason"], letter["error"], letter["order_id"]) == ("poison", "it kills", "a")


def test_repair_waits_while_several_streams_are_worked_on_as_its_source() -> None:
    """Proves that it gives out nothing of another server's, and its own as soon as that is told apart."""
    bench = Bench()
    committed(bench, "a")
    bench.looked_through.streams = 2
    bench.repair.go_on(idle=True)
    assert (published(bench), bench.mending.notes) == ([], [])

    bench.looked_through.streams = 1
    bench.repair.go_on(idle=True)

    assert published(bench) == ["a"]


def test_row_without_a_source_and_an_entry_is_left_to_a_person() -> None:
    """Proves that nobody publishes it by himself, that it is counted, and that the log says what to do."""
    bench = Bench()
    committed(bench, "a", "b")
    bench.rows["b"] = replace(bench.rows["b"], unsourced=True)

    with structlog.testing.capture_logs() as logged:
        bench.run_until(lambda: bench.mending.notes)

    assert published(bench) == ["a"]
    (note,) = bench.mending.notes
    assert (note["published"], note["left_alone"]) == ("1", "1")
    assert [each["rows"] for each in logged if "--unsourced" in each.get("to_do", "")] == [1]


def test_submitted_order_has_no_result_to_publish() -> None:
    bench = Bench()
    committed(bench, "a")
    bench.rows["a"] = record("a", status=Status.SUBMITTED)

    bench.run_until(lambda: bench.mending.notes)

    assert bench.stream.results == []


def test_what_was_committed_before_the_window_is_left_alone() -> None:
    bench = Bench(repair_window_s=5)
    committed(bench, "old", seconds_ago=10)

    bench.run_until(lambda: bench.mending.notes)

    assert published(bench) == []


def test_nothing_is_repaired_where_that_is_switched_off() -> None:
    bench = Bench(repair_window_s=0)
    committed(bench, "a")

    bench.run_until(lambda: True)

    assert (published(bench), bench.mending.notes) == ([], [])


def test_all_pages_are_repaired_by_an_idle_replica() -> None:
    bench = Bench()
    ids = [f"order-{number}" for number in range(2 * PAGE + 1)]
    committed(bench, *ids)

    bench.run_until(lambda: bench.mending.notes)

    assert published(bench) == sorted(ids)


def test_busy_replica_repairs_a_page_between_two_batches() -> None:
    bench = Bench(batch_size=1)
    committed(bench, *(f"order-{number}" for number in range(PAGE + 1)))
    bench.submit("new-1")

    bench.worker.lease.start()
    bench.worker.refill()
    bench.worker.work_through()
    bench.worker.mend()
    bench.worker.lease.stop()

    assert len(published(bench)) == PAGE + 1
    assert "new-1" in published(bench)


def test_repair_begins_anew_after_the_group_was_lost() -> None:
    bench = Bench()
    bench.run_until(lambda: bench.mending.notes)
    committed(bench, "a")
    bench.stream.group = None
    bench.drain = bench.worker.drain = type(bench.drain)()

    bench.orders.when_idle = lambda: bench.drain.request() if published(bench) else None
    bench.worker.lease = type(bench.lease)(bench.orders, lease_ms=30_000, clock=bench.clock.monotonic)
    bench.worker.run()

    assert published(bench) == ["a"]
    assert len(bench.mending.notes) == 2


def test_repair_begins_anew_after_redis_was_away() -> None:
    bench = Bench()
    lost: list[str] = []

    def lose_once() -> None:
        if bench.mending.notes and not lost:
            committed(bench, "a")
            lost.append("a")
            bench.orders.faults.plant("read")
        if published(bench):
            bench.drain.request()

    bench.orders.when_idle = lose_once
    bench.worker.run()

    assert published(bench) == ["a"]


@pytest.mark.parametrize("step", ["fates", "entries", "restore", "note"])
def test_page_is_repaired_again_when_redis_was_away_meanwhile(step: str) -> None:
    bench = Bench()
    committed(bench, "a")
    bench.orders.faults.plant(step, reply_lost=True)

    bench.run_until(lambda: bench.mending.notes)

    assert published(bench) == ["a"]


def test_each_repaired_order_is_named_in_the_log() -> None:
    bench = Bench()
    committed(bench, "a")

    with structlog.testing.capture_logs() as logs:
        bench.run_until(lambda: bench.mending.notes)

    (named,) = (line for line in logs if line["event"] == "repaired")
    assert (named["action"], named["order_id"], named["entry_id"]) == ("publish", "a", "1-1")
