"""Of which entries and orders replays may come, as rows that are to go ask: looked through now and then."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.fakes import FakeClock
from worker import wire
from worker.bootstrap.parts.pruning import LETTERS_KNOWN_FOR_S, LettersLately
from worker.domain.letters import LetterState
from worker.domain.pruning import ComingReplays, KeptFrom, Named
from worker.stream import StoredLetter

CLOSED = LetterState("discarded", "me", "2026-01-01T00:00:00Z")
KEPT = KeptFrom(50)


def replayed(entry_id: str | None, order_id: str | None = None) -> LetterState:
    return LetterState("replayed", "me", "2026-01-01T00:00:00Z", replayed_as=entry_id, order_id=order_id)


def opened(*entries: str, orders: tuple[str, ...] = ()) -> ComingReplays:
    return ComingReplays(open=Named(frozenset(entries), frozenset(orders)))


class Kept:
    """Letters that a test makes up."""

    def __init__(self, *letters: StoredLetter) -> None:
        self.letters = list(letters)
        self.last_renamed: str | None = None

    def walk(self) -> Iterator[StoredLetter]:
        yield from self.letters

    def renamed(self) -> str | None:
        return self.last_renamed


def letter(entry_id: bytes, order_id: bytes = b"", closed: LetterState | None = None) -> StoredLetter:
    named = (b"order_id", order_id) if order_id else ()
    return StoredLetter("9-0", (b"entry_id", entry_id, b"source", b"orders", *named), closed)


def lately(kept: Kept, clock: FakeClock, most: int | None = None) -> LettersLately:
    return LettersLately(kept, wire.Spelling("orders"), most=most, clock=clock.monotonic)  # type: ignore[arg-type]


def test_open_letters_name_their_entries_and_orders() -> None:
    kept = Kept(letter(b"1-0", b"a"), letter(b"2-0"), letter(b"3-0", b"c", CLOSED))

    assert lately(kept, FakeClock()).coming(KEPT) == opened("1-0", "2-0", orders=("a",))


def test_letters_are_looked_through_again_after_a_while() -> None:
    clock, kept = FakeClock(), Kept()
    asked = lately(kept, clock)
    before = asked.coming(KEPT)
    kept.letters.append(letter(b"1-0"))
    clock.advance(LETTERS_KNOWN_FOR_S - 1)
    meanwhile = asked.coming(KEPT)
    clock.advance(1)

    assert before == meanwhile == ComingReplays()
    assert asked.coming(KEPT) == opened("1-0")


def test_too_many_to_look_through_are_told() -> None:
    kept = Kept(letter(b"1-0"), letter(b"2-0"))

    with capture_logs() as logs:
        found = lately(kept, FakeClock(), most=1).coming(KEPT)

    assert found is None
    assert logs == [
        {"event": "rows stay: too many dead letters to look through", "log_level": "warning", "most": 1}
    ]
    assert lately(kept, FakeClock(), most=2).coming(KEPT) is not None


@pytest.mark.parametrize(
    ("entry_id", "orders"),
    [("50-0", {"a"}), ("51-7", {"a"}), ("49-9", set()), (None, set()), ("soon", set())],
)
def test_replayed_letters_are_of_what_may_come_as_long_as_their_replay_is_not_older_than_what_is_kept(
    entry_id: str | None, orders: set[str]
) -> None:
    kept = Kept(letter(b"1-0", b"a", replayed(entry_id)))

    found = lately(kept, FakeClock()).coming(KEPT)

    assert found is not None
    assert (found.open, set(found.replayed.orders)) == (Named(), orders)


def test_replayed_letter_is_of_the_order_that_it_names_and_of_that_of_its_replay() -> None:
    kept = Kept(letter(b"1-0", b"a", replayed("60-0", "b")), letter(b"2-0", b"", replayed("60-1", "c")))

    found = lately(kept, FakeClock()).coming(KEPT)

    assert found == ComingReplays(replayed=Named(frozenset({"1-0", "2-0"}), frozenset({"a", "b", "c"})))


def test_letters_are_looked_through_at_once_after_a_replay_of_an_order_that_none_names() -> None:
    kept = Kept(letter(b"1-0", b"a"))
    asked = lately(kept, FakeClock())
    asked.coming(KEPT)
    kept.letters = [letter(b"1-0", b"a", replayed("60-0", "b"))]
    as_before = asked.coming(KEPT)
    kept.last_renamed = "60-0"

    assert as_before == opened("1-0", orders=("a",))
    assert asked.coming(KEPT) == ComingReplays(replayed=Named(frozenset({"1-0"}), frozenset({"a", "b"})))
