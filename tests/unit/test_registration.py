"""The line of a replica in the book of sources: a stream is one source and stays it."""

import pytest
from structlog.testing import capture_logs

from tests.fakes import FakeClock, FakeSources, FakeToken
from worker.consumer.registration import EVERY_S, Registration
from worker.domain.errors import ConfigurationError


class Desk:
    """A registration and what it speaks to."""

    def __init__(self) -> None:
        self.clock, self.stream, self.book = FakeClock(), FakeToken(), FakeSources()
        self.registration = Registration(
            self.stream, self.book, source="orders", clock=self.clock.monotonic
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
    """Proves that whoever mixes up two fleets reads it in the log, without having it repeated every ten seconds."""
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
