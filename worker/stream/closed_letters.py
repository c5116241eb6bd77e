"""Lets go of dead letters that somebody closed long ago; those that are open are never touched."""

from datetime import datetime

import msgspec
from msgspec import Struct

from worker.domain.deliveries import is_entry_id
from worker.domain.letters import LetterState
from worker.domain.retention import LettersGone
from worker.stream.clock import ServerClock
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages, text
from worker.stream.names import RedisNames
from worker.stream.scripts import source

# Redis does nothing else meanwhile; a letter may be as large as an entry.
LOOKED_AT_TOGETHER = 500
_BEGINNING = "0"


class ClosedLetters:
    """Walks through the closed letters in no order, some at a time. Raises Outage; repeatable."""

    def __init__(self, link: RedisLink, names: RedisNames, *, clock: ServerClock | None = None) -> None:
        self._link = link
        self._names = names
        self._clock = clock or ServerClock(link)
        self._forget = link.script(source("forget_letters"))
        self._cursor = _BEGINNING

    def let_go(self, keep_ms: int) -> LettersGone:
        """Let go of letters that were closed more than `keep_ms` ago and whose entries are gone by now.

        So must be those that replay them: neither kept, nor pending or unread for any group. Letters of other
        sources stay.

        At most about LOOKED_AT_TOGETHER are looked at; the next call goes on behind them.
        """
        names = self._names
        with outages():
            cursor, found = self._link.call(
                "HSCAN", names.letter_states, self._cursor, "COUNT", LOOKED_AT_TOGETHER
            )
            self._cursor = text(cursor)
            limit_ms = self._clock.now_ms() - keep_ms
            due = [
                part
                for letter_id, state in zip(found[::2], found[1::2], strict=True)
                if is_entry_id(text(letter_id))
                and (closed := _closed(state)) is not None
                and closed.at_ms < limit_ms
                for part in (letter_id, state, closed.replayed_as)
            ]
            keys = [names.dead_letters, names.letter_states, names.orders]
            gone = int(self._forget(keys, [names.source, *due])) if due else 0
        return LettersGone(gone, more=bool(gone) and self._cursor != _BEGINNING)


class _Closed(Struct, frozen=True):
    """When a letter was closed, in unix milliseconds, and the entry that replays it; empty: none does."""

    at_ms: float
    replayed_as: str


def _closed(raw: bytes) -> _Closed | None:
    """Return how a letter was closed; None where nobody knows when that was."""
    try:
        state = msgspec.json.decode(raw, type=LetterState)
        at_ms = datetime.fromisoformat(state.at).timestamp() * 1000
    except (msgspec.DecodeError, ValueError, OverflowError):
        return None
    replayed_as = state.replayed_as or ""
    return _Closed(at_ms, replayed_as if is_entry_id(replayed_as) else "")
