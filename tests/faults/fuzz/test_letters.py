"""Dead letters of generated entries, and those nobody wrote: replayed as they were, edited, or refused."""

from collections import Counter
from collections.abc import Sequence

from tests.builders import decoder, delivery
from tests.faults.fuzz.entries import FIELDS, NAMES, Chance, Entry, altered, amount, entry, text
from tests.faults.fuzz.reference import IN_ORDER_ID
from tests.faults.fuzz.seeds import SEED, case, drawn, numbers
from tests.faults.reporting import record
from worker import wire
from worker.domain.deliveries import Delivery
from worker.domain.orders import Undecodable
from worker.wire import NotReplayable, Renderer

LETTERS = 4_000
REASONS = (
    "undecodable",
    "ambiguous",
    "too_large",
    "conflict",
    "poison",
    "failed",
    "trimmed",
    "database_rejected",
    "",
)
NOTES = (
    "entry_id",
    "reason",
    "order_id",
    "error",
    "deliveries",
    "sha256",
    "size",
    "head",
    "orig:",
    "orig:orig:",
    "orig",
    "",
)
RENDERER = Renderer(
    source="orders",
    consumer="c",
    version="1",
    copies=False,
    max_bytes=65_536,
    max_fields=64,
    clock=lambda: 1.0,
)
ID_FIELDS = ("order_id", "client_id", "data", "payload")


def as_bytes(parts: Sequence[str | bytes]) -> tuple[bytes, ...]:
    """What the stream holds of a letter."""
    return tuple(part if isinstance(part, bytes) else part.encode() for part in parts)


def edits(chance: Chance) -> dict[str, str]:
    """Draw edits, most of them not what a person would make."""
    names = (*FIELDS, *NAMES, "\udcff", "a\0")
    return {
        chance.choice(names): chance.choice((amount, text))(chance)
        for _ in range(chance.choice((1, 1, 2, 5)))
    }


def replayed(
    letter: wire.Letter, edited: dict[str, str], reader: wire.Decoder
) -> wire.Replay | NotReplayable:
    """The replay of a letter, or why there is none."""
    try:
        return wire.replay_of(letter, edited, reader)
    except NotReplayable as refused:
        return refused


def test_letter_keeps_its_entry_and_its_replay_is_the_same_order_or_is_refused() -> None:
    seen = Counter[str]()
    for number in numbers(LETTERS):
        chance = drawn("letter", number)
        fields = entry(drawn("entry", number), number)
        reader = decoder(order_id_field=chance.choice(ID_FIELDS))
        found = reader.decode(Delivery("5-1", fields, 1, charged=True))
        reason = (
            found.reason
            if isinstance(found, Undecodable)
            else chance.choice(("failed", "poison", "conflict"))
        )
        buried = RENDERER.letter(
            delivery("5-1", fields), reason=reason, error=text(chance), order_id=found.order_id
        )
        with case(number, fields):
            letter = wire.read_letter(as_bytes(buried.fields))

            assert (letter.reason, letter.entry_id, letter.order_id) == (reason, "5-1", found.order_id)
            if reason != "too_large":
                assert tuple(part for pair in letter.originals for part in pair) == fields
            replay = replayed(letter, {}, reader)
            if isinstance(replay, NotReplayable):
                # Two more fields may be beyond the limits; nothing else stands in the way of an order.
                assert isinstance(found, Undecodable) or reason == "conflict" or "as a replay" in str(replay)
                seen["refused"] += 1
                continue
            again = reader.decode(Delivery("9-1", replay.fields, 1, charged=True))
            assert replay.changed == {}
            if isinstance(found, Undecodable):
                assert isinstance(again, Undecodable)
                seen["undecodable again"] += 1
            else:
                assert not isinstance(again, Undecodable)
                assert (type(again), again.order_id, again.fingerprint) == (
                    type(found),
                    found.order_id,
                    found.fingerprint,
                )
                assert (again.labels, again.replay_of) == (found.labels, "5-1")
                seen["same order"] += 1

    record("fuzz", "letters", letters=seen.total(), seed=SEED, ends=seen)


def test_letter_that_nobody_wrote_is_replayed_or_refused_and_raises_nothing_else() -> None:
    seen = Counter[bool]()
    for number in numbers(LETTERS):
        chance = drawn("forged", number)
        fields, edited = forged(chance, number), edits(chance) if chance.random() < 0.7 else {}
        with case(number, (fields, edited)):
            letter = wire.read_letter(fields)
            replay = replayed(letter, edited, decoder(order_id_field=chance.choice(ID_FIELDS)))
            seen[isinstance(replay, wire.Replay)] += 1
            if isinstance(replay, NotReplayable):
                continue
            assert len(replay.fields) % 2 == 0
            assert all(isinstance(part, bytes) for part in replay.fields)
            if edited:
                assert set(replay.order_id or "") <= IN_ORDER_ID
            for name, (_, became) in replay.changed.items():
                assert edited[name] == became
    if len(numbers(LETTERS)) > 1:
        assert min(seen[True], seen[False]) > LETTERS // 20, seen
    record("fuzz", "forged letters", letters=seen.total(), replayable=seen[True], seed=SEED)


def forged(chance: Chance, number: int) -> Entry:
    """Draw a letter: one of the worker's own, altered."""
    fields = entry(drawn("entry", number), number)
    reason = chance.choice(REASONS)
    order_id = chance.choice((None, f"order-{number}", "x"))
    made = [
        *as_bytes(RENDERER.letter(delivery("5-1", fields), reason=reason, error="", order_id=order_id).fields)
    ]
    for _ in range(chance.choice((0, 0, 1, 2))):
        at = chance.randrange(len(made))
        made[at] = altered(chance, made[at])
    for _ in range(chance.choice((0, 0, 1, 2))):
        made += [chance.choice(NOTES).encode(), text(chance).encode("utf-8", "surrogatepass")]
    if chance.random() < 0.2:
        at = 2 * chance.randrange(len(made) // 2)
        del made[at : at + 2]
    return tuple(made)
