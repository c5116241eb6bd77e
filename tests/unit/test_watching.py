"""What many look at is asked for once a second, while somebody looks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import pytest

from tests.harness import eventually
from worker.ops import watching
from worker.ops.watching import Watch


class Question:
    """Counts how often it is asked, and answers with that."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = Event()
        self.answers.set()

    def __call__(self) -> int:
        self.asked += 1
        self.answers.wait(10)
        return self.asked


@contextmanager
def watched(question: Question) -> Iterator[Watch[int]]:
    watch = Watch(question)
    try:
        yield watch
    finally:
        question.answers.set()
        watch.end()


def test_end_waits_for_a_question_that_is_being_asked() -> None:
    question = Question()
    watch = Watch(question)
    watch.look()
    question.answers.clear()
    asked = question.asked
    eventually(lambda: watch.look() is not None and question.asked > asked)
    ending = threading.Thread(target=watch.end)

    ending.start()
    ending.join(0.1)
    waits = ending.is_alive()
    question.answers.set()
    ending.join(10)

    assert (waits, ending.is_alive()) == (True, False)


def test_nothing_is_asked_before_somebody_looks() -> None:
    question = Question()

    with watched(question):
        assert question.asked == 0


def test_first_look_waits_for_the_answer() -> None:
    with watched(Question()) as watch:
        seen = watch.look()

    assert seen is not None
    assert seen.told == 1


def test_fifty_that_look_at_once_ask_once() -> None:
    question = Question()

    with watched(question) as watch:
        lookers = [threading.Thread(target=watch.look) for _ in range(50)]
        for each in lookers:
            each.start()
        for each in lookers:
            each.join()
        asked = question.asked

    assert asked == 1


def test_whoever_goes_on_looking_sees_something_new() -> None:
    def told() -> int:
        seen = watch.look()
        return 0 if seen is None else seen.told

    with watched(Question()) as watch:
        eventually(lambda: told() > 1, within=5)


def test_question_that_hangs_keeps_nobody_waiting_and_shows_what_was_known() -> None:
    question = Question()
    with watched(question) as watch:
        watch.look()
        question.answers.clear()
        eventually(lambda: question.asked > 1, within=5)

        seen = watch.look()

    assert seen is not None
    assert seen.told == 1


def test_question_that_never_answered_is_told_as_nothing_known() -> None:
    question = Question()
    question.answers.clear()

    with watched(question) as watch:
        assert watch.look() is None


def test_question_that_fails_is_asked_again() -> None:
    class Failing(Question):
        def __call__(self) -> int:
            if super().__call__() == 1:
                raise OSError("gone")
            return self.asked

    with watched(Failing()) as watch:
        eventually(lambda: watch.look() is not None, within=5)


def test_nobody_asks_once_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "EVERY_S", 0.02)
    question = Question()
    clock = 0.0
    watch = Watch(question, clock=lambda: clock)
    try:
        watch.look()
        clock = watching.NOBODY_LOOKS_AFTER_S + 1
        asked = question.asked

        # Time for twenty questions, of which one may have been on its way.
        Event().wait(0.4)

        assert question.asked <= asked + 1
    finally:
        watch.end()
