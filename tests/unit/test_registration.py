"""The line of a replica in the book of sources: a stream is one source and stays it."""

import pytest

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
