"""Dead letters that a test makes up, and the desk over them: as Redis keeps them, but in memory."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from tests.builders import AT, decoder, flat
from worker import wire
from worker.bootstrap.letters import LetterDesk
from worker.bootstrap.parts.foresight import Foresight
from worker.bootstrap.parts.showing import ALL, Showing, Sizes
from worker.domain.deliveries import entry_order
from worker.domain.errors import Outage
from worker.domain.letters import LetterState
from worker.domain.orders import OrderRecord
from worker.stream import Closing, StoredLetter
from worker.stream.dead_letters import SomeLetters

NOW = AT.timestamp()


def stored(
    letter_id: str,
    fields: Sequence[bytes] | None = None,
    closed: LetterState | None = None,
    /,
    **notes: str,
) -> StoredLetter:
    """Return the letter of an entry with these fields."""
    said = {"entry_id": "1-1", "reason": "failed", "order_id": "o", "error": "it is broken", **notes}
    raw = [part.encode() for pair in said.items() for part in pair]
    entry = flat(order_id=said["order_id"]) if fields is None else fields
    for name, value in zip(entry[::2], entry[1::2], strict=True):
        raw += (b"orig:" + name, value)
    return StoredLetter(letter_id, tuple(raw), closed)


class FakeDeadLetters:
    """Letters by id; a replay adds to `added`. Fails with an outage from the given call of a script on."""

    def __init__(self, *letters: StoredLetter) -> None:
        self.kept = {letter.letter_id: letter for letter in letters}
        self.added: list[tuple[str, tuple[bytes, ...]]] = []
        self.away_after: int | None = None

    def newest(
        self,
        fits: Callable[[StoredLetter], bool],
        *,
        behind: str | None,
        since_ms: int,
        count: int,
        most: int,
    ) -> SomeLetters:
        """Return letters as the real ones do."""
        found: list[StoredLetter] = []
        looked_at, last = 0, behind
        for letter_id in sorted(self.kept, key=entry_order, reverse=True):
            is_newer = behind is not None and entry_order(letter_id) >= entry_order(behind)
            if is_newer or entry_order(letter_id) < (since_ms, 0):
                continue
            if len(found) == count or looked_at == most:
                return SomeLetters(found, looked_at, last)
            looked_at, last = looked_at + 1, letter_id
            if fits(self.kept[letter_id]):
                found.append(self.kept[letter_id])
        return SomeLetters(found, looked_at, None)

    def find(self, letter_id: str) -> StoredLetter | None:
        """Return one letter."""
        return self.kept.get(letter_id)

    def replay(self, letter_id: str, state: LetterState, fields: tuple[bytes, ...]) -> Closing:
        """Close a letter and add an entry, unless it is closed."""
        closing = self._close(letter_id, replace(state, replayed_as=f"9-{len(self.added)}"))
        if closing.ours:
            self.added.append((letter_id, fields))
        return closing

    def discard(self, letter_id: str, state: LetterState) -> Closing:
        """Close a letter, unless it is closed."""
        return self._close(letter_id, state)

    def _close(self, letter_id: str, state: LetterState) -> Closing:
        if self.away_after is not None:
            self.away_after -= 1
            if self.away_after < 0:
                raise Outage("redis", "cut off")
        letter = self.kept.get(letter_id)
        if letter is None:
            return Closing(False, None)
        if letter.closed is not None:
            return Closing(False, letter.closed)
        self.kept[letter_id] = StoredLetter(letter_id, letter.fields, state)
        return Closing(True, state)


class FakeStanding:
    """The rows that stand, by order id."""

    def __init__(self, *rows: OrderRecord) -> None:
        self.rows = {row.order_id: row for row in rows}
        self.is_away = False

    def standing(self, order_id: str) -> OrderRecord | None:
        """Return the row of an order."""
        if self.is_away:
            raise Outage("postgresql", "cut off")
        return self.rows.get(order_id)


def desk(
    letters: FakeDeadLetters,
    store: FakeStanding | None = None,
    *,
    hidden: Sequence[str] = (),
    max_order_age_s: float = 0,
    sizes: Sizes = ALL,
) -> LetterDesk:
    """Return the desk over letters and rows, at a fixed time."""
    showing = Showing(wire.Hiding(hidden), wire.Spelling("orders"))
    asked: Any = store or FakeStanding()
    kept: Any = letters
    foresight = Foresight(
        asked, decoder(), showing, max_deliveries=5, max_order_age_s=max_order_age_s, clock=lambda: NOW
    )
    return LetterDesk(kept, decoder(), showing, foresight, sizes=sizes, clock=lambda: NOW)
