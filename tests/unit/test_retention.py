"""When retention has its turn in the loop, what it asks of the stream, and what it says."""

from collections.abc import Iterator
from unittest.mock import Mock

import pytest
from structlog.testing import capture_logs

from tests.builders import flat
from tests.fakes import Bench, FakeClock
from worker.consumer import Retention
from worker.consumer.retention import EVERY_S
from worker.domain.errors import OutOfMemory
from worker.domain.retention import LettersGone, Lost, Retained

STEPS = ["lost_unread", "retain", "remove_dead"]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(orders_keep_s=60)
    yield made
    made.lease.stop()


def rounds(bench: Bench) -> int:
    return bench.orders.faults.steps.count("retain")


def test_round_is_done_at_first_and_then_only_when_it_is_due(bench: Bench) -> None:
    bench.retention.tidy_up()
    bench.clock.advance(EVERY_S - 0.1)
    bench.retention.tidy_up()
    before = list(bench.orders.faults.steps)

    bench.clock.advance(0.1)
    bench.retention.tidy_up()

    assert before == STEPS
    assert bench.orders.faults.steps == STEPS * 2


def test_old_orders_and_their_marks_go_while_the_loop_runs(bench: Bench) -> None:
    bench.submit("a", "b", "c")
    bench.run_until(lambda: bench.clock.seconds >= FakeClock().seconds + 60 + 2 * EVERY_S)

    assert len(bench.stream.entries) == 1, "the last delivered one keeps its place"
    assert len(bench.stream.results) == 3


def test_retention_has_its_turn_though_what_was_claimed_is_waiting(bench: Bench) -> None:
    for i in range(3):
        bench.stream.add(*flat(order_id=f"order-{i}"))
    other = Bench(bench.stream, bench.store.table, consumer="worker-2")
    taken = other.intake.take()
    other.orders.charge({each.entry_id: 3 for each in taken})
    bench.clock.advance(31)

    bench.worker.in_hand = bench.intake.take()
    bench.worker.work_through()
    bench.worker.mend()
    bench.worker.tidy_up()

    assert bench.intake.waiting
    assert rounds(bench) == 1


def test_redis_that_takes_nothing_more_is_given_room_before_what_is_in_hand_is_tried_again(
    bench: Bench,
) -> None:
    full = OutOfMemory("redis", "OOM command not allowed")

    def refuse(step: str) -> None:
        if step in {"settle", "ensure_group", "lost_unread"} and not rounds(bench):
            raise full

    bench.worker.mend()
    begun_anew = Mock(wraps=bench.repair.want)
    bench.repair.want = begun_anew  # type: ignore[method-assign]
    bench.orders.faults.on_step = refuse
    bench.submit("a")

    bench.run_until(lambda: bench.done)

    assert rounds(bench) == 1
    assert bench.rows.keys() == {"a"}
    assert len(bench.stream.results) == 1
    assert not begun_anew.called, "it has lost nothing, and retention would wait for the repair"


def test_retention_has_its_turn_under_load(bench: Bench) -> None:
    def add_another(step: str) -> None:
        if step == "settle" and bench.clock.seconds < FakeClock().seconds + 5 * EVERY_S:
            bench.clock.advance(1)
            bench.submit(f"order-{bench.clock.seconds}")

    bench.orders.faults.on_step = add_another
    bench.submit("first")

    bench.run_until(lambda: True)

    assert rounds(bench) >= 5


def test_nothing_is_let_go_until_what_a_repair_has_not_come_to_has_its_result(bench: Bench) -> None:
    bench.looked_through.streams = 2
    for _ in range(3):
        bench.worker.mend()
        bench.worker.tidy_up()
        bench.clock.advance(EVERY_S)
    before = rounds(bench)
    bench.looked_through.streams = 1

    bench.worker.mend()
    bench.worker.tidy_up()

    assert before == 0
    assert bench.orders.faults.steps.count("lost_unread") == 4
    assert rounds(bench) == 1


def test_retention_has_no_turn_in_a_drain(bench: Bench) -> None:
    bench.drain.request()

    bench.worker.tidy_up()

    assert rounds(bench) == 0


def test_outage_of_retention_is_waited_out_and_the_next_round_comes_when_due(bench: Bench) -> None:
    bench.orders.faults.plant("retain")
    bench.submit("a")

    bench.run_until(lambda: rounds(bench) == 2)

    assert bench.tally.outages == 1
    assert bench.rows.keys() == {"a"}


def test_step_that_always_fails_does_not_keep_the_loop_from_its_orders(bench: Bench) -> None:
    bench.orders.faults.plant("retain", times=1000)
    bench.submit(*(f"order-{i}" for i in range(300)))

    bench.run_until(lambda: bench.done)

    assert len(bench.rows) == 300
    assert bench.tally.outages <= 1 + (bench.clock.seconds - FakeClock().seconds) / EVERY_S


class Scripted:
    """Every port at once, that answers what a test says."""

    def __init__(self) -> None:
        self.lost: Lost | None = Lost(0, 0)
        self.done = Retained()
        self.closed = LettersGone()
        self.removed: list[str] = []
        self.asked: list[dict[str, int]] = []
        self.lost_by_reads = 0
        self.turn = True
        self.turns_ended = 0

    def take(self) -> bool:
        return self.turn

    def end(self) -> None:
        self.turns_ended += 1

    def lost_unread(self) -> Lost | None:
        return self.lost

    def retain(self, **limits: int) -> Retained:
        self.asked.append(limits)
        return self.done

    def let_go(self, keep_ms: int) -> LettersGone:
        self.asked.append({"closed_for_ms": keep_ms})
        return self.closed

    def remove_dead(self, idle_ms: int) -> list[str]:
        self.asked.append({"idle_ms": idle_ms})
        return self.removed


def scripted(
    *, lease_ms: int = 30_000, keep_s: int = 60, letters_keep_s: int = 9
) -> tuple[Scripted, Retention, FakeClock]:
    port, clock = Scripted(), FakeClock()
    made = Retention(
        port,  # type: ignore[arg-type]
        port,
        port,
        orders_keep_s=keep_s,
        results_maxlen=7,
        results_keep_s=8,
        letters_keep_s=letters_keep_s,
        lease_ms=lease_ms,
        clock=clock.monotonic,
    )
    return port, made, clock


@pytest.mark.parametrize(("lease_ms", "idle_ms"), [(30_000, 600_000), (100_000, 1_000_000)])
def test_consumers_are_dead_after_ten_leases_and_ten_minutes_at_least(lease_ms: int, idle_ms: int) -> None:
    port, retention, _ = scripted(lease_ms=lease_ms)

    retention.tidy_up()

    trimmed = {"keep_ms": 60_000, "most_results": 7, "results_keep_ms": 8000}
    assert port.asked == [trimmed, {"closed_for_ms": 9000}, {"idle_ms": idle_ms}]


def test_dead_letters_are_kept_for_ever_when_asked_to() -> None:
    port, retention, _ = scripted(letters_keep_s=0)

    retention.tidy_up()

    assert not any("closed_for_ms" in each for each in port.asked)


def test_closed_letters_are_kept_no_shorter_than_a_repair_may_look_for_them() -> None:
    port, retention, _ = scripted(letters_keep_s=1)

    retention.tidy_up()

    assert {"closed_for_ms": 8000} in port.asked


def test_next_round_is_due_at_once_where_more_closed_letters_can_go() -> None:
    port, retention, _ = scripted()
    port.closed = LettersGone(3, more=True)

    more = [retention.tidy_up()]
    port.closed = LettersGone(1)
    more += [retention.tidy_up(), retention.tidy_up()]

    assert more == [True, False, False]
    assert port.asked.count({"closed_for_ms": 9000}) == 2


def test_whose_turn_it_is_not_lets_go_of_nothing_and_asks_again_when_it_is_due() -> None:
    port, retention, clock = scripted()
    port.turn, port.lost = False, None
    retention.tidy_up()
    port.turn = True
    retention.tidy_up()
    before = list(port.asked)

    clock.advance(EVERY_S)
    retention.tidy_up()

    assert before == []
    assert len(port.asked) == 3
    assert port.turns_ended == 0


def test_whoever_may_not_let_go_leaves_that_to_others() -> None:
    port, retention, _ = scripted()

    retention.tidy_up(trim=False)

    assert port.asked == [{"idle_ms": 600_000}]
    assert port.turns_ended == 1


def test_what_reads_found_lost_is_told_whosever_turn_it_is() -> None:
    port, retention, clock = scripted()
    port.turn, port.lost = False, Lost(3, 8)

    with capture_logs() as quiet:
        retention.tidy_up()
    port.lost_by_reads = 3
    clock.advance(EVERY_S)
    with capture_logs() as logs:
        retention.tidy_up()

    assert quiet == []
    (warning,) = logs
    assert (warning["new"], warning["total"]) == (3, 8)


def test_one_replica_tidies_up_at_a_time(bench: Bench) -> None:
    others = [Bench(bench.stream, bench.store.table, consumer=f"worker-{i}") for i in range(2, 5)]

    for _ in range(6):
        for each in (bench, *others):
            each.retention.tidy_up()
        bench.clock.advance(EVERY_S)

    assert sum(rounds(each) for each in (bench, *others)) == 6


def test_next_round_follows_at_once_while_more_can_go() -> None:
    port, retention, _ = scripted()
    port.done = Retained(orders=5000, more=True)
    retention.tidy_up()
    # Others may be needed as well.
    assert port.turns_ended == 1
    port.done = Retained(orders=10)

    for _ in range(3):
        retention.tidy_up()

    assert len(port.asked) == 3 * 2


def test_what_was_lost_unread_is_one_warning_that_says_what_to_do() -> None:
    port, retention, clock = scripted()
    port.lost = Lost(3, 8)

    with capture_logs() as logs:
        retention.tidy_up()
        port.lost = Lost(0, 8)
        clock.advance(EVERY_S)
        retention.tidy_up()

    (warning,) = (line for line in logs if line["log_level"] == "warning")
    assert (warning["new"], warning["total"]) == (3, 8)
    assert "MAXLEN" in warning["to_do"]
    assert "WORKER_ORDERS_KEEP_S" in warning["to_do"]


def test_server_that_can_not_tell_what_was_lost_is_no_warning() -> None:
    port, retention, _ = scripted()
    port.lost = None

    with capture_logs() as logs:
        retention.tidy_up()

    assert logs == []
