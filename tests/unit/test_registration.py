"""The line of a replica in the book of sources: a stream is one source and stays it."""

import pytest
from structlog.testing import capture_logs

from tests.builders import record
from tests.fakes import Bench, FakeClock, FakeSources, FakeStream, FakeToken, FakeTurn
from worker.domain.errors import ConfigurationError
from worker.source.registration import EVERY_S, Registration


class Desk:
    """A registration and what it speaks to."""

    def __init__(self) -> None:
        self.clock, self.stream, self.book = FakeClock(), FakeToken(), FakeSources()
        self.server = FakeStream(self.clock)
        self.registration = self.of("one")

    def of(self, consumer: str, *, idle_every_s: float = 0) -> Registration:
        """That of one replica."""
        return Registration(
            self.stream, self.book, FakeTurn(self.server, "registering", consumer, lease_ms=5000),
            source="orders", fresh_s=900, idle_every_s=idle_every_s, clock=self.clock.monotonic,
        )  # fmt: skip


def test_replica_refuses_a_stream_that_is_another_source_and_says_how_to_get_out() -> None:
    """Proves that the line names both ways: the other source, and forgetting it."""
    desk = Desk()
    desk.book.others["token-1"] = "venue-a"

    with pytest.raises(ConfigurationError) as refused:
        desk.registration.begin()

    assert "set WORKER_SOURCE=venue-a" in str(refused.value)
    assert "take the line with the token token-1 out of the table order_sources" in str(refused.value)


def test_replica_at_work_leaves_when_its_stream_has_become_another_source() -> None:
    """Proves that of two sources on one stream one ends, also where Redis lost the token under both."""
    desk = Desk()
    desk.registration.begin()
    desk.stream.known_by = "token-2"
    desk.book.others["token-2"] = "venue-a"
    desk.clock.advance(EVERY_S)

    with pytest.raises(ConfigurationError, match="is the source 'venue-a'"):
        desk.registration.go_on()


def test_replica_forgets_a_stream_that_redis_has_lost_and_registers_the_new_one() -> None:
    """Proves that a flushed Redis is not told as two streams."""
    desk = Desk()
    desk.registration.begin()
    desk.stream.known_by = "token-2"
    desk.clock.advance(EVERY_S)

    desk.registration.go_on()

    assert desk.book.noted == ["token-2"]


SHARED = {
    "event": "several orders streams are worked on under one source",
    "log_level": "warning",
    "source": "orders",
    "streams": 2,
    "to_do": "give each fleet on this database a WORKER_SOURCE of its own",
}


def test_replica_says_once_that_a_second_stream_is_worked_on_under_its_source_and_what_to_set() -> None:
    """Proves that whoever mixes up two fleets reads it in the log, but not again every ten seconds."""
    desk = Desk()
    desk.registration.begin()
    desk.book.noted.append("token-of-another-stream")

    with capture_logs() as logged:
        for _ in range(3):
            desk.clock.advance(EVERY_S)
            desk.registration.go_on()

    assert logged == [SHARED]


def test_replica_says_again_that_two_streams_are_one_source_when_that_had_ended() -> None:
    desk = Desk()
    desk.book.noted.append("token-of-another-stream")

    with capture_logs() as logged:
        desk.registration.begin()
        for change in (desk.book.noted.remove, desk.book.noted.append):
            change("token-of-another-stream")
            desk.clock.advance(EVERY_S)
            desk.registration.go_on()

    assert logged == [SHARED, SHARED]


def test_replica_of_the_only_stream_of_its_source_says_nothing() -> None:
    desk = Desk()

    with capture_logs() as logged:
        desk.registration.begin()

    assert logged == []


def test_one_replica_keeps_the_line_for_all() -> None:
    desk = Desk()
    replicas = [desk.registration, desk.of("two"), desk.of("three")]
    for each in replicas:
        each.begin()
    began = desk.book.asked

    for _ in range(5):
        desk.clock.advance(EVERY_S)
        for each in replicas:
            each.go_on()

    assert (began, desk.book.asked - began) == (3, 5)


def test_each_replica_registers_the_stream_that_has_taken_the_place_of_ours() -> None:
    """Proves that of two sources on one stream all replicas of one end, not only the one whose turn it is."""
    desk = Desk()
    two = desk.of("two")
    desk.registration.begin()
    two.begin()
    desk.stream.known_by = "token-2"
    desk.book.others["token-2"] = "venue-a"
    desk.clock.advance(EVERY_S)

    for each in (desk.registration, two):
        with pytest.raises(ConfigurationError, match="is the source 'venue-a'"):
            each.go_on()


@pytest.mark.parametrize(("idle_every_s", "times"), [(0, 0), (1, 36), (60, 6), (3600, 0)])
def test_line_is_left_alone_once_nothing_was_done_for_long(idle_every_s: float, times: int) -> None:
    desk = Desk()
    registration = desk.of("one", idle_every_s=idle_every_s)
    registration.begin()

    for second in range(360):
        desk.clock.advance(1)
        registration.go_on(idle_s=900 + second)

    assert desk.book.asked - 1 == times


def test_line_is_kept_as_long_as_others_may_take_our_rows_for_theirs() -> None:
    desk = Desk()
    desk.registration.begin()

    for second in range(899):
        desk.clock.advance(1)
        desk.registration.go_on(idle_s=second)

    assert desk.book.asked - 1 == 89


def test_replica_that_was_idle_for_long_is_registered_before_it_writes_a_row() -> None:
    bench = Bench()
    asked_before: list[int] = []

    def wake() -> bool:
        if bench.clock.seconds - FakeClock().seconds > 2000 and not asked_before:
            asked_before.append(bench.sources.asked)
            bench.submit("a")
        return bool(bench.rows)

    asked_when_it_was_written: list[int] = []

    def on_step(step: str) -> None:
        if step == "record":
            asked_when_it_was_written.append(bench.sources.asked)

    bench.store.faults.on_step = on_step
    bench.run_until(wake)

    (before,), (then, *_) = asked_before, asked_when_it_was_written
    assert then == before + 1


def test_line_is_kept_while_a_repair_asks_whether_there_is_another() -> None:
    """Proves that a replica idle for long while Redis was away sees that one source has two streams."""
    bench = Bench()
    asked: list[int] = []

    def sleep_and_lose() -> bool:
        idle_s = bench.clock.seconds - FakeClock().seconds
        if idle_s > 2000 and not asked:
            asked.append(bench.sources.asked)
            bench.looked_through.streams = 2
            bench.orders.faults.plant("read")
        return idle_s > 2100

    bench.run_until(sleep_and_lose)

    assert bench.repair.under_way
    assert bench.sources.asked >= asked[0] + 5


def test_replica_leaves_before_it_repairs_where_its_stream_has_become_another_source() -> None:
    bench = Bench()
    bench.worker.mend()
    bench.rows["a"] = record("a", entry_id="1-1", executed_at=bench.clock.now())
    bench.stream.group = None
    bench.orders.ensure_group()
    bench.orders.groups_lost += 1
    bench.sources.others["token-1"] = "venue-a"
    bench.sources.noted.clear()

    with pytest.raises(ConfigurationError, match="is the source 'venue-a'"):
        bench.worker.mend()

    assert bench.stream.results == []
