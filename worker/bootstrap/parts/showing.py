"""Turns stored dead letters into what people see of them: as text, cut to size, without hidden values."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from worker import wire
from worker.domain.deliveries import entry_milliseconds
from worker.domain.letters import LetterState
from worker.domain.times import utc_text_of_ms
from worker.status.letters import LetterLine, ShownField
from worker.stream import StoredLetter

Pairs = Sequence[tuple[bytes, bytes]]

# What a letter says of itself; whoever writes letters of his own may have put any field there.
_NOTES = frozenset({
    "entry_id", "reason", "order_id", "error", "deliveries", "first_seen", "last_seen", "consumer",
    "worker_version", "source", "mark", "size", "sha256", "head",
})  # fmt: skip


class Sizes(Struct, frozen=True):
    """How much of an entry is shown: so many fields, so many characters of each; None: all."""

    fields: int | None = None
    characters: int | None = None


ALL = Sizes()


class Showing:
    """Shows letters and entries, and whose letters are not ours."""

    def __init__(self, hiding: wire.Hiding, spelling: wire.Spelling) -> None:
        self.hiding = hiding
        self.other_source = spelling.other_source

    def line(self, stored: StoredLetter) -> LetterLine:
        """Return a letter for a list."""
        letter = wire.read_letter(stored.fields)
        notes = {name: self._note(name, value, letter) for name, value in letter.notes.items()}
        buried = utc_text_of_ms(entry_milliseconds(stored.letter_id))
        closed = None if stored.closed is None else self.closed(stored.closed)
        return LetterLine(stored.letter_id, buried, notes, closed, self.other_source(stored.fields))

    def closed(self, state: LetterState) -> LetterState:
        """Return how a letter was closed, as it may be shown."""
        value = self.hiding.value
        changed = {
            name: (None if before is None else value(name, before), value(name, after))
            for name, (before, after) in state.changed.items()
        }
        return replace(state, changed=changed)

    def fields(self, pairs: Pairs, sizes: Sizes) -> tuple[tuple[ShownField, ...], int]:
        """Return the fields of an entry, and how many of them are left out."""
        shown = tuple(self._field(name, value, sizes) for name, value in pairs[: sizes.fields])
        return shown, len(pairs) - len(shown)

    def told(self, text: str, pairs: Pairs) -> str:
        """Return what was said of an entry."""
        return self.hiding.told(text, [part for pair in pairs for part in pair])

    def _field(self, name: bytes, value: bytes, sizes: Sizes) -> ShownField:
        called, text = wire.shown(name), self.hiding.value(wire.shown(name), value)
        cut = text[: sizes.characters]
        return ShownField(called[: sizes.characters], cut, len(text) - len(cut))

    def _note(self, name: str, value: str, letter: wire.Letter) -> str:
        if name == "head":
            return self.hiding.head(value)
        if name == "error":
            return self.told(value, letter.originals)
        return value if name in _NOTES else self.hiding.value(name, value)
