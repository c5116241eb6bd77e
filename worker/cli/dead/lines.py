"""What is shown of a dead letter."""

from collections.abc import Iterator
from typing import Any

import msgspec

from worker.domain.texts import escaped
from worker.status.letters import Comparison, Forecast, LetterInFull, LetterLine, ReplayPreview

NAMED = 100


def line_of(letter: LetterLine) -> str:
    """Return one line for a list."""
    parts = [
        letter.letter_id,
        letter.buried,
        letter.reason,
        letter.order_id,
        letter.error[:NAMED] if letter.closed is None else letter.closed.how,
        *([] if letter.other_source is None else [f"of the source {letter.other_source}"]),
    ]
    return "  ".join(escaped(part) for part in parts)


def what_next(letter: LetterInFull) -> Iterator[str]:
    """Yield what a letter of a conflict contradicts, and of an open letter what a person may do about it.

    Of a letter of another fleet that is whose it is.
    """
    if letter.line.not_ours is not None:
        yield escaped(letter.line.not_ours)
    if letter.comparison is not None:
        yield from _beside(letter.comparison)
    if letter.preview is not None:
        yield from _choices(letter.line.letter_id, letter.preview)


def described(letter: LetterLine) -> dict[str, Any]:
    """Return what a letter says, and how it was closed."""
    closed = {} if letter.closed is None else {"closed": msgspec.to_builtins(letter.closed)}
    return {
        "id": letter.letter_id,
        "buried": letter.buried,
        "state": letter.state,
        **letter.notes,
        **closed,
    }


def in_list(letter: LetterLine) -> dict[str, Any]:
    """Return a letter as a JSON object, but for its original fields; `ours`: whether this fleet closes it."""
    return described(letter) | {"ours": letter.not_ours is None}


def in_full(letter: LetterInFull) -> dict[str, Any]:
    """Return a letter as a JSON object: its original fields, what it contradicts, the preview of a replay."""
    said = msgspec.to_builtins(letter)
    fields = [(field.name, field.value) for field in letter.fields]
    known = {name: said[name] for name in ("comparison", "preview") if said[name] is not None}
    return in_list(letter.line) | {"fields": fields} | known


def _choices(letter_id: str, preview: ReplayPreview) -> Iterator[str]:
    discard_it = f"`worker dead discard {letter_id}` closes it"
    why = escaped(preview.why)
    if preview.forecast is Forecast.REFUSED:
        yield f"can't be replayed as it is: {why}"
        yield discard_it
        return
    yield f"its replay would be: {preview.forecast} ({why})"
    yield f"`worker dead replay {letter_id}` adds it again, {discard_it}"


def _beside(comparison: Comparison) -> Iterator[str]:
    if comparison.why:
        yield f"the stored order {escaped(comparison.order_id)} can't be compared: {escaped(comparison.why)}"
        return
    owner = f"{comparison.stored_status}, of entry {escaped(comparison.stored_entry or '-')}"
    yield f"the stored order {escaped(comparison.order_id)} ({owner}) beside it:"
    for part in comparison.fields:
        unknown = part.differs is None
        stored = "not kept" if unknown else _said(part.stored)
        sign = "?" if unknown else "!" if part.differs else " "
        yield f"{sign} {part.name}: {_said(part.letter)}, stored {stored}"


def _said(value: str | None) -> str:
    return "nothing" if value is None else escaped(value)
