"""From dead letters back to what was sent: reading a letter, and the entry that replays it."""

import json
from collections.abc import Container, Mapping, Sequence

from msgspec import Struct

from worker.domain.deliveries import Delivery
from worker.domain.orders import DeadReason, Order, Undecodable, UnsoundOrder
from worker.domain.trace_context import TRACEPARENT
from worker.wire import names
from worker.wire.decoding import Decoder
from worker.wire.payloads import RepeatedKey, parsed

_ORIGINAL = b"orig:"
_SHOWN_AS = "backslashreplace"

Pairs = list[tuple[bytes, bytes]]


class NotReplayable(ValueError):
    """Why a letter can't be replayed as asked."""


class Letter(Struct, frozen=True):
    """A dead letter: why, and the original fields in order; these are empty where they were not kept."""

    notes: Mapping[str, str]
    originals: tuple[tuple[bytes, bytes], ...]

    @property
    def reason(self) -> str:
        """The reason, as it stands there."""
        return self.notes.get("reason", "")

    @property
    def entry_id(self) -> str:
        """The entry that was buried."""
        return self.notes.get("entry_id", "")

    @property
    def order_id(self) -> str | None:
        """The identity of the order, where the letter knows it."""
        return self.notes.get("order_id")


class Replay(Struct, frozen=True):
    """The entry that replays a letter; `changed` has what each edited field was (None: absent) and became."""

    order_id: str | None
    fields: tuple[bytes, ...]
    changed: Mapping[str, tuple[str | None, str]]


def read_letter(fields: Sequence[bytes]) -> Letter:
    """Return what a letter says. Bytes that are no UTF-8 are spelled as escapes in what it says of itself."""
    notes, originals = {}, []
    for name, value in zip(fields[::2], fields[1::2], strict=True):
        if name.startswith(_ORIGINAL):
            originals.append((name.removeprefix(_ORIGINAL), value))
        else:
            notes[shown(name)] = shown(value)
    return Letter(notes, tuple(originals))


def shown(value: bytes) -> str:
    """Return bytes as text for people; what is not UTF-8 is spelled as escapes."""
    return value.decode("utf-8", _SHOWN_AS)


def is_order_id(text: str) -> bool:
    """Whether a text may identify an order."""
    return names.ORDER_ID.fullmatch(text) is not None


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8: half a surrogate pair can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def replay_of(letter: Letter, edits: Mapping[str, str], decoder: Decoder) -> Replay:
    """Return the entry that replays a letter, with some fields edited.

    What is not edited keeps its place, its repeats and its bytes. The order keeps its id unless that is
    edited. Raises NotReplayable.
    """
    _refuse_hopeless(letter, edits)
    pairs, changed = list(letter.originals), dict[str, tuple[str | None, str]]()
    for name, value in edits.items():
        if name != "order_id":
            changed[name] = (_edit(pairs, name, value, decoder.carriers), value)
    order_id = edits.get("order_id")
    if order_id is None:
        order_id = letter.order_id or _identity(letter, pairs, decoder)
    if "order_id" in edits:
        changed["order_id"] = (letter.order_id, edits["order_id"])
    if order_id is not None:
        _put(pairs, b"order_id", order_id.encode())
    _put(pairs, names.REPLAY_OF.encode(), letter.entry_id.encode())
    fields = tuple(part for pair in pairs for part in pair)
    decoded = decoder.decode(Delivery(letter.entry_id, fields, 1, True))
    if edits and isinstance(decoded, Undecodable):
        raise NotReplayable(f"edited so it is no order: {decoded.error}")
    _refuse_worse(decoded, order_id)
    return Replay(order_id, fields, changed)


def _refuse_hopeless(letter: Letter, edits: Mapping[str, str]) -> None:
    if not all(is_unicode(part) for edit in edits.items() for part in edit):
        raise NotReplayable("what is to be edited is not Unicode")
    if not letter.originals:
        why = "was too large to be kept" if "size" in letter.notes else "was deleted before it was read"
        raise NotReplayable(f"{letter.reason}: its fields are gone, the entry {why}")
    if letter.reason == DeadReason.CONFLICT and edits.get("order_id", letter.order_id) == letter.order_id:
        raise NotReplayable(
            f"conflict: the order {letter.order_id} came before with other content; "
            "give it an id of its own with --set order_id=..."
        )


def _refuse_worse(decoded: Order | UnsoundOrder | Undecodable, order_id: str | None) -> None:
    if isinstance(decoded, Undecodable):
        if decoded.reason is DeadReason.TOO_LARGE:
            raise NotReplayable(f"too_large: as a replay it has {decoded.error}, beyond the limits")
    elif order_id is None:
        raise NotReplayable("its order id can't be made out; give it one with --set order_id=...")


def _identity(letter: Letter, pairs: Pairs, decoder: Decoder) -> str | None:
    fields = tuple(part for pair in pairs for part in pair)
    return decoder.decode(Delivery(letter.entry_id, fields, 1, True)).order_id


def _edit(pairs: Pairs, name: str, value: str, carrying: Container[bytes]) -> str | None:
    """Edit a field in place, in the payload where the entry has one, and return what it was."""
    carriers = [key for key, _ in pairs if key in carrying]
    # Beside a payload a traceparent goes before one inside.
    if not carriers or name.encode() in carriers or name == TRACEPARENT:
        before = next((raw for key, raw in pairs if key == name.encode()), None)
        _put(pairs, name.encode(), value.encode())
        return None if before is None else shown(before)
    if len(carriers) > 1:
        raise NotReplayable("there are several payloads in it: edit one of them as a whole")
    payload, before_edit = _edited(dict(pairs)[carriers[0]], name, value)
    _put(pairs, carriers[0], payload)
    return before_edit


def _put(pairs: Pairs, name: bytes, value: bytes) -> None:
    """Give a field one value, where it stands first, else at the end."""
    places = [place for place, (key, _) in enumerate(pairs) if key == name]
    if not places:
        pairs.append((name, value))
        return
    pairs[places[0]] = (name, value)
    for place in reversed(places[1:]):
        del pairs[place]


def _edited(payload: bytes, name: str, value: str) -> tuple[bytes, str | None]:
    try:
        # Numbers become text of the same digits: to the decoder they are the same.
        found = parsed(payload)
    except RepeatedKey:
        raise NotReplayable("a key stands in its payload twice: it can only be edited as a whole") from None
    except (ValueError, RecursionError):
        raise NotReplayable("its payload is not JSON: it can only be edited as a whole") from None
    if not isinstance(found, dict):
        raise NotReplayable("its payload is not a JSON object: it can only be edited as a whole")
    before = found.get(name)
    found[name] = value
    return json.dumps(found).encode(), before if isinstance(before, str | None) else json.dumps(before)
