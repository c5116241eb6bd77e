"""Of which entries and orders open letters are, as rows that are to go ask: looked through now and then."""

from collections.abc import Iterator

from structlog.testing import capture_logs

from tests.fakes import FakeClock
from worker import wire
from worker.bootstrap.parts.pruning import LETTERS_KNOWN_FOR_S, LettersLately
from worker.domain.letters import LetterState
from worker.domain.pruning import OpenLetters
from worker.stream import StoredLetter

CLOSED = LetterState("discarded", "me", "2026-01-01T00:00:00Z")


class Kept:
    """Letters that a test makes up."""

    def __init__(self, *letters: StoredLetter) -> None:
        self.letters = list(letters)

    def walk(self) -> Iterator[StoredLetter]:
        yield from self.letters


def letter(entry_id: bytes, order_id: bytes = b"", closed: LetterState | None = None) -> StoredLetter:
    named = (b"order_id", order_id) if order_id else ()
    return StoredLetter("9-0", (b"entry_id", entry_id, b"source", b"orders", *named), closed)


def lately(kept: Kept, clock: FakeClock, most: int | None = None) -> LettersLately:
    return LettersLately(kept, wire.Spelling("orders"), most=most, clock=clock.monotonic)  # type: ignore[arg-type]


def test_open_letters_name_their_entries_and_orders() -> None:
    kept = Kept(letter(b"1-0", b"a"), letter(b"2-0"), letter(b"3-0", b"c", CLOSED))

    assert lately(kept, FakeClock()).open() == OpenLetters(frozenset({"1-0", "2-0"}), frozenset({"a"}))


def test_letters_are_looked_through_again_after_a_while() -> None:
    clock, kept = FakeClock(), Kept()
    asked = lately(kept, clock)
    before = asked.open()
    kept.letters.append(letter(b"1-0"))
    clock.advance(LETTERS_KNOWN_FOR_S - 1)
    meanwhile = asked.open()
    clock.advance(1)

    assert before == meanwhile == OpenLetters()
    assert asked.open() == OpenLetters(frozenset({"1-0"}))


def test_too_many_to_look_through_are_told() -> None:
    kept = Kept(letter(b"1-0"), letter(b"2-0"))

    with capture_logs() as logs:
        found = lately(kept, FakeClock(), most=1).open()

    assert found is None
    assert logs == [
        {"event": "rows stay: too many dead letters to look through", "log_level": "warning", "most": 1}
    ]
    assert lately(kept, FakeClock(), most=2).open() is not None
