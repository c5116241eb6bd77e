"""The last resort: an execution or a drain that outlasts its time ends the process, and nothing else does."""

from threading import Event

import pytest

from tests.builders import order
from tests.fakes import FakeClock
from tests.harness import eventually
from worker.consumer import Deadlines, Drain


class Watched:
    """Deadlines with everything they watch."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.drain = Drain()
        self.last_words: list[str] = []
        self.deadlines = Deadlines(
            self.drain,
            execute_s=10,
            drain_s=8,
            clock=self.clock.monotonic,
            leave=self.last_words.append,
        )


def test_execution_within_its_time_is_left_alone() -> None:
    watched = Watched()
    watched.deadlines.executing(order("a"))
    watched.clock.advance(10)

    watched.deadlines.look()

    assert watched.last_words == []


def test_execution_beyond_its_time_ends_the_process_and_names_the_order() -> None:
    watched = Watched()
    watched.deadlines.executing(order("a"))
    watched.clock.advance(10.1)

    watched.deadlines.look()

    assert watched.last_words == ["order a has been executing for more than 10 s"]


def test_execution_that_ended_is_watched_no_more() -> None:
    watched = Watched()
    watched.deadlines.executing(order("a"))
    watched.deadlines.executing(None)
    watched.clock.advance(60)

    watched.deadlines.look()

    assert watched.last_words == []


def test_each_execution_has_its_own_time() -> None:
    watched = Watched()
    for name in "abc":
        watched.deadlines.executing(order(name))
        watched.clock.advance(9)
        watched.deadlines.look()

    assert watched.last_words == []


@pytest.mark.parametrize(("seconds", "words"), [(8, []), (8.1, ["draining has taken more than 8 s"])])
def test_drain_has_its_own_time_from_when_it_was_first_seen(seconds: float, words: list[str]) -> None:
    watched = Watched()
    watched.clock.advance(100)
    watched.drain.request()
    watched.deadlines.look()
    watched.clock.advance(seconds)

    watched.deadlines.look()

    assert watched.last_words == words


def test_thread_looks_by_itself_until_it_is_stopped() -> None:
    looked = Event()
    clock = FakeClock()
    deadlines = Deadlines(
        Drain(), execute_s=1, drain_s=1, clock=clock.monotonic, leave=lambda _words: looked.set()
    )
    deadlines.executing(order("a"))
    clock.advance(2)

    deadlines.start()

    eventually(looked.is_set, within=5)
    deadlines.stop()


def test_first_wish_to_leave_is_patient_and_the_second_is_not() -> None:
    drain = Drain()

    states = [(drain.requested, drain.hurried)]
    for _ in range(2):
        drain.request()
        states.append((drain.requested, drain.hurried))

    assert states == [(False, False), (True, False), (True, True)]
