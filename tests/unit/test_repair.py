"""Each replica's own repair: what was committed lately and is not settled goes out, once, beside the work."""

import pytest
import structlog
from msgspec.structs import replace

from tests.builders import dead_record, record
from tests.fakes import Bench
from tests.repair_fakes import FakeRoundsOfOne
from worker.domain.errors import OutOfMemory
from worker.domain.orders import Status
from worker.repair.own_repair import ASKED_EVERY_S, PAGE, TURN_S


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


def fleet_of(bench: Bench, count: int) -> list[Bench]:
    """The replicas beside one, on the same streams and rows."""
    return [Bench(bench.stream, bench.store.table, consumer=f"worker-{place + 2}") for place in range(count)]


def page_by_page(bench: Bench) -> int:
    """Walk as a busy replica does, to the end; return how many pages there were."""
    pages = 1
    while bench.repair.go_on(idle=False):
        pages += 1
    return pages


def test_one_replica_walks_for_all_that_want_it() -> None:
    one = Bench()
    committed(one, *(f"order-{number}" for number in range(PAGE + 1)))
    two, three = fleet_of(one, 2)
    assert one.repair.go_on(idle=False)
    # What these want may have been lost after the first walk began.
    for each in (two, three):
        assert not each.repair.go_on(idle=True)
    waiting = two.orders.faults.steps + three.orders.faults.steps
    page_by_page(one)
    one.clock.advance(ASKED_EVERY_S)

    two.repair.go_on(idle=True)
    three.repair.go_on(idle=True)

    assert waiting == []
    assert one.stream.repair_rounds.begun == 2
    assert two.orders.faults.steps == ["fates", "fates", "note"]
    assert three.orders.faults.steps == []
    assert [each.repair.under_way for each in (one, two, three)] == [False] * 3
    assert len(published(one)) == PAGE + 1


def test_walk_that_looked_less_far_back_is_not_enough() -> None:
    one = Bench(repair_window_s=60)
    far = Bench(one.stream, one.store.table, consumer="far", repair_window_s=3600)
    another = one.stream.repair_rounds.of("another")
    another.take_turn()
    assert not far.repair.go_on(idle=True)
    another.end_turn()
    one.repair.go_on(idle=True)
    one.clock.advance(ASKED_EVERY_S)
    committed(one, "a", seconds_ago=100)

    far.repair.go_on(idle=True)

    assert published(one) == ["a"]


def test_walk_of_whoever_has_died_is_begun_anew_by_another() -> None:
    one = Bench()
    committed(one, *(f"order-{number}" for number in range(PAGE + 1)))
    (two,) = fleet_of(one, 1)
    one.repair.go_on(idle=False)
    assert not two.repair.go_on(idle=True)

    one.clock.advance(30)
    two.repair.go_on(idle=True)

    assert len(published(one)) == PAGE + 1
    assert not two.repair.under_way


def test_whoever_leaves_lets_another_walk_at_once() -> None:
    one = Bench()
    committed(one, *(f"order-{number}" for number in range(PAGE + 1)))
    (two,) = fleet_of(one, 1)
    one.repair.go_on(idle=False)
    one.drain.request()

    one.worker.hand_back()
    two.repair.go_on(idle=True)

    assert len(published(one)) == PAGE + 1


def test_walk_has_not_ended_while_what_it_met_is_in_doubt() -> None:
    """Proves that no row counts as looked at whose fate one replica alone knows, which may die."""
    bench = Bench()
    committed(bench, "a")
    bench.stream.known = replace(bench.stream.begin_marks(), results_since_ms=bench.clock.milliseconds())
    assert not bench.repair.go_on(idle=True)
    in_doubt, ended = bool(bench.repair.doubts), bench.stream.repair_rounds.done
    # It has come to all rows: retention may go on, and where Redis is full what it lets go makes room for the
    # answer.
    assert not bench.repair.under_way

    while bench.repair.doubts:
        bench.repair.doubts.go_on()
    bench.repair.go_on(idle=True)

    assert (in_doubt, ended) == (True, None)
    assert bench.stream.repair_rounds.done == (1, 900)
    assert not bench.repair.under_way


@pytest.mark.parametrize("step", ["begin", "end"])
def test_walk_that_can_not_be_noted_for_want_of_memory_is_walked_all_the_same(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    committed(bench, "a")

    def refuse(*_: int) -> int:
        raise OutOfMemory("redis", "OOM command not allowed")

    monkeypatch.setattr(FakeRoundsOfOne, step, refuse)

    bench.repair.go_on(idle=True)

    assert published(bench) == ["a"]
    assert not bench.repair.under_way


def test_walk_of_whoever_is_busy_is_left_to_one_that_has_less_to_do() -> None:
    busy = Bench()
    committed(busy, *(f"order-{number}" for number in range(PAGE + 1)))
    (idle,) = fleet_of(busy, 1)
    busy.repair.go_on(idle=False)
    assert not idle.repair.go_on(idle=True)

    busy.clock.advance(TURN_S)
    idle.repair.go_on(idle=True)
    looked_at = busy.orders.faults.steps.count("fates")
    busy.repair.go_on(idle=False)

    assert len(published(busy)) == PAGE + 1
    assert not busy.repair.under_way
    assert busy.orders.faults.steps.count("fates") == looked_at


def test_walk_looks_as_far_back_as_when_it_was_wanted_however_long_it_waited_for_its_turn() -> None:
    bench = Bench(repair_window_s=60)
    committed(bench, "a", seconds_ago=25)
    another = bench.stream.repair_rounds.of("another", lease_ms=30_000)
    another.take_turn()
    assert not bench.repair.go_on(idle=True)

    bench.clock.advance(30)
    bench.repair.go_on(idle=True)

    assert published(bench) == ["a"]


def test_walk_that_redis_has_forgotten_is_nobodys_and_begun_anew() -> None:
    """Proves that what Redis lost once it was looked at is looked at again, though its walker saw nothing."""
    one = Bench()
    committed(one, *(f"order-{number}" for number in range(PAGE + 1)))
    (two,) = fleet_of(one, 1)
    rounds = one.stream.repair_rounds
    one.repair.go_on(idle=False)
    rounds.begun = 0
    rounds.by.clear()
    assert not two.repair.go_on(idle=True)

    page_by_page(one)
    ended, still_wanted = rounds.done, one.repair.under_way
    page_by_page(one)

    assert (ended, still_wanted) == (None, True)
    assert rounds.done == (1, 900)


def test_walks_of_busy_replicas_come_to_an_end() -> None:
    """Proves that replicas that take the turn from each other between two pages don't begin anew for ever."""
    one = Bench()
    committed(one, *(f"order-{number}" for number in range(2 * PAGE + 1)))
    fleet = [one, *fleet_of(one, 3)]

    for _ in range(8):
        for each in fleet:
            one.clock.advance(TURN_S)
            each.repair.go_on(idle=False)

    assert not any(each.repair.under_way for each in fleet)
    assert len(published(one)) == 2 * PAGE + 1
