"""Signals that come while something starts."""

import signal
import threading
from collections.abc import Iterator

import pytest

from local.interrupts import ENDING, interrupt_once, undisturbed


@pytest.fixture(autouse=True)
def handlers_are_as_they_were() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING)
def test_signal_interrupts_when_the_block_is_left_and_not_before(number: int) -> None:
    interrupt_once()
    done = []

    with pytest.raises(KeyboardInterrupt):  # noqa: PT012, SIM117  what happens within is the point
        with undisturbed():
            signal.raise_signal(number)
            done.append("started")

    assert done == ["started"]


@pytest.mark.parametrize("number", ENDING)
def test_second_signal_does_not_break_off_the_end_that_the_first_has_begun(number: int) -> None:
    interrupt_once()

    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    signal.raise_signal(number)

    assert signal.getsignal(number) is signal.SIG_IGN


def test_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    with undisturbed():
        within = signal.getsignal(signal.SIGINT)

    assert within is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_thread_other_than_the_main_one_leaves_the_handlers_alone() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    seen = []

    def block() -> None:
        with undisturbed():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()

    assert seen == [handler]
