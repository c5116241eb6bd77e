"""The dead letters, and the state of each that is closed: walked page by page, closed by one script each."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from worker.domain.deliveries import BEGINNING
from worker.domain.letters import LetterState, state_of
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages, text
from worker.stream.names import RedisNames
from worker.stream.paging import pages
from worker.stream.scripts import source


class StoredLetter(Struct, frozen=True):
    """One entry of the dead letter stream, names and values in turn, with how it was closed."""

    letter_id: str
    fields: tuple[bytes, ...]
    closed: LetterState | None

    @property
    def state(self) -> str:
        """open, replayed or discarded."""
        return state_of(self.closed)


class SomeLetters(Struct, frozen=True):
    """Some letters, and the one behind which more may be found (None: nothing is behind them)."""

    letters: Sequence[StoredLetter]
    looked_at: int
    go_on_from: str | None


class Closing(Struct, frozen=True):
    """What came of closing a letter: `ours` if this call did it; no state where there is no such letter."""

    ours: bool
    state: LetterState | None


class DeadLetters:
    """Every step may be repeated: a letter is closed once. Raises Outage where Redis can't be used."""

    def __init__(self, link: RedisLink, names: RedisNames) -> None:
        self._link = link
        self._names = names
        self._replay, self._discard = (
            link.script(source(name)) for name in ("replay_letter", "discard_letter")
        )

    def walk(self, since_ms: int = 0) -> Iterator[StoredLetter]:
        """Yield the letters buried from a unix time in milliseconds on, oldest first, a page in memory."""
        for page in pages(self._link, self._names.dead_letters, f"{since_ms}-0", "+"):
            yield from self._with_states(page)

    def latest(self, *, behind: str | None = None, since_ms: int = 0) -> Iterator[StoredLetter]:
        """Yield letters, newest first, from behind one or from the end on, a page in memory.

        None is given that was buried before a unix time in milliseconds.
        """
        if behind == BEGINNING:
            # No id comes before it, and Redis refuses to be asked for one.
            return
        last = "+" if behind is None else f"({behind}"
        for page in pages(self._link, self._names.dead_letters, f"{since_ms}-0", last, backwards=True):
            yield from self._with_states(page)

    def newest(
        self,
        fits: Callable[[StoredLetter], bool],
        *,
        behind: str | None,
        since_ms: int,
        count: int,
        most: int,
    ) -> SomeLetters:
        """Return at most `count` letters that fit, of `latest`; at most `most` are looked at."""
        found: list[StoredLetter] = []
        looked_at, go_on_from = 0, behind
        for letter in self.latest(behind=behind, since_ms=since_ms):
            # One more was there: where there is none, nothing is said to be behind the last.
            if len(found) == count or looked_at == most:
                return SomeLetters(found, looked_at, go_on_from)
            looked_at, go_on_from = looked_at + 1, letter.letter_id
            if fits(letter):
                found.append(letter)
        return SomeLetters(found, looked_at, None)

    def find(self, letter_id: str) -> StoredLetter | None:
        """Return one letter, or None where there is none of this id."""
        with outages():
            page = self._link.call("XRANGE", self._names.dead_letters, letter_id, letter_id)
        return next(self._with_states(page), None)

    def replay(self, letter_id: str, state: LetterState, fields: Sequence[str | bytes]) -> Closing:
        """Close a letter and add an entry to the orders stream, in one step, unless the letter is closed."""
        names = self._names
        keys = [names.dead_letters, names.letter_states, names.orders]
        with outages():
            renamed = "" if state.order_id is None else "1"
            return _closing(self._replay(keys, [letter_id, _state_text(state), renamed, *fields]))

    def renamed(self) -> str | None:
        """Return the last entry that replays a letter as an order which the letter does not name."""
        with outages():
            (found,) = self._link.call("HMGET", self._names.letter_states, "renamed")
        return None if found is None else text(found)

    def discard(self, letter_id: str, state: LetterState) -> Closing:
        """Close a letter without adding anything, unless it is closed."""
        keys = [self._names.dead_letters, self._names.letter_states]
        with outages():
            return _closing(self._discard(keys, [letter_id, _state_text(state)]))

    def _with_states(self, page: Sequence[Any]) -> Iterator[StoredLetter]:
        if not page:
            return
        ids = [text(letter_id) for letter_id, _ in page]
        with outages():
            states = self._link.call("HMGET", self._names.letter_states, *ids)
        for letter_id, (_, fields), state in zip(ids, page, states, strict=True):
            yield StoredLetter(letter_id, tuple(fields), None if state is None else _state(state))


def _state_text(state: LetterState) -> str:
    return json.dumps(msgspec.to_builtins(state))


def _state(raw: bytes) -> LetterState:
    try:
        return msgspec.json.decode(raw, type=LetterState)
    except msgspec.DecodeError:
        # Whatever somebody has put there: nobody closes it again before a person has looked.
        return LetterState("unreadable", "-", "-")


def _closing(reply: Any) -> Closing:  # noqa: ANN401  replies are untyped
    how, state = text(reply[0]), reply[1]
    return Closing(how == "done", None if how == "gone" else _state(state))
