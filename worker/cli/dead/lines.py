"""What is shown of a dead letter."""

from collections.abc import Mapping
from typing import Any

import msgspec

from worker import wire
from worker.domain.deliveries import entry_milliseconds
from worker.domain.texts import escaped
from worker.domain.times import utc_text_of_ms
from worker.stream import LetterState, StoredLetter

NAMED = 100


def line_of(letter: StoredLetter) -> str:
    """Return one line for a list."""
    notes = wire.read_letter(letter.fields).notes
    parts = [
        letter.letter_id,
        _buried_at(letter.letter_id),
        notes.get("reason", "-"),
        notes.get("order_id", "-"),
        notes.get("error", "-")[:NAMED] if letter.closed is None else how_closed(letter.closed),
    ]
    return "  ".join(escaped(part) for part in parts)


def what_next(letter: StoredLetter, decoder: wire.Decoder) -> str:
    """Return what a person may do about an open letter."""
    discard_it = f"`worker dead discard {letter.letter_id}` closes it"
    try:
        wire.replay_of(wire.read_letter(letter.fields), {}, decoder)
    except wire.NotReplayable as why:
        return f"can't be replayed as it is: {escaped(str(why))}\n{discard_it}"
    return f"`worker dead replay {letter.letter_id}` adds it again, {discard_it}"


def how_closed(state: LetterState) -> str:
    """Return who closed a letter, how and when."""
    what = f"{state.state} as {state.replayed_as}" if state.replayed_as else state.state
    return f"{what} by {state.by} at {state.at}"


def described(letter: StoredLetter) -> dict[str, Any]:
    """Return a letter as a JSON object, but for its original fields."""
    notes: Mapping[str, str] = wire.read_letter(letter.fields).notes
    closed = {} if letter.closed is None else {"closed": msgspec.to_builtins(letter.closed)}
    return {
        "id": letter.letter_id,
        "buried": _buried_at(letter.letter_id),
        "state": letter.state,
        **notes,
        **closed,
    }


def originals(letter: StoredLetter) -> list[tuple[str, str]]:
    """Return the fields of the entry that was buried, as they can be shown."""
    originals = wire.read_letter(letter.fields).originals
    return [(wire.shown(name), wire.shown(value)) for name, value in originals]


def _buried_at(entry_id: str) -> str:
    return utc_text_of_ms(entry_milliseconds(entry_id))
