"""Searches the streams for what an order has left there: results, dead letters, entries of the same id."""

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime

from worker import wire
from worker.bootstrap.parts.subject import Subject, Subjects
from worker.bootstrap.parts.witnesses import Witnesses
from worker.domain.deliveries import Delivery, entry_milliseconds, is_entry_id, mark_of_content, size_of
from worker.domain.evidence import Fate
from worker.domain.orders import WITH_RESULT, OrderRecord, Undecodable
from worker.repair.judgement import only_redone
from worker.status.story import (
    MOST_SEARCHED,
    MOST_SEARCHED_FOR_DUPLICATES,
    Duplicates,
    Field,
    Letter,
    Letters,
    Result,
    Results,
    Searched,
)
from worker.stream import Found, StoredLetter

# How far the clock of a replica may be ahead of that of Redis for its result to be looked for in its place.
AHEAD_MS = 2000
MOST_LETTERS = 20
MOST_SEARCHED_BYTES = 33_554_432
# Of an entry's fields, which may be of any size, so much is shown.
LONGEST_SHOWN, MOST_FIELDS_SHOWN = 1000, 100


class Traces:
    """Searches a bounded part of each stream, and says how much that was. Raises Outage."""

    def __init__(self, witnesses: Witnesses, subjects: Subjects, clock: Callable[[], datetime]) -> None:
        self._ask = witnesses
        self._subjects = subjects
        self._spelling = wire.Spelling(witnesses.source)
        self._clock = clock

    def results(self, subject: Subject, fate: Fate) -> Results:
        """Return the results of the order since its entry came: nothing of it can be older."""
        row = subject.row
        first_entry = subject.entry_id if row is None else row.record.entry_id
        if not first_entry or not is_entry_id(first_entry):
            return Results(searched=Searched(0, False))
        now_ms = int(self._clock().timestamp() * 1000)
        # An id may have been made up, and be of any time to come.
        came_ms = min(entry_milliseconds(first_entry), now_ms)
        begun_ms = came_ms if row is None else max(row.record.stands_since_ms, came_ms)
        came_ms, begun_ms = came_ms - AHEAD_MS, begun_ms - AHEAD_MS
        fits = self._is_result_of(subject)
        later = self._ask.trail.results(fits, from_ms=begun_ms, most=MOST_SEARCHED)
        earlier = self._ask.trail.results_before(fits, from_ms=came_ms, until_ms=begun_ms, most=MOST_SEARCHED)
        found = sorted((*earlier.found, *later.found), key=lambda each: entry_milliseconds(each.entry_id))
        searched = Searched(earlier.looked_at + later.looked_at, earlier.all and later.all)
        record = None if row is None else row.record
        lost_until_ms = self._lost_until_ms(entry_milliseconds(first_entry), fate, record)
        return Results(tuple(self._compared(each, record) for each in found), searched, lost_until_ms)

    def _lost_until_ms(self, came_ms: int, fate: Fate, record: OrderRecord | None) -> int:
        """Return up to when results may be gone that were of an order which came at a time; 0: none are."""
        evidence = self._ask.evidence
        lost_until_ms, kept = evidence.results_lost_until_ms(), evidence.results()
        first_ms = entry_milliseconds(kept.first)
        if record is not None and first_ms > record.stands_since_ms + AHEAD_MS:
            # A stream that was deleted or renamed away counts anew: nobody knows what was there before.
            return max(lost_until_ms, first_ms)
        if lost_until_ms < came_ms:
            return 0
        if evidence.counts_results() or kept.may_be_trimmed(self._ask.results_maxlen):
            return lost_until_ms
        # Before 7.0 nobody counts. Where no mark was lost either, its settle has published it once.
        marked_since_ms = fate.marks.results_since_ms or 0
        published_once = fate.marked and record is not None and record.stands_since_ms >= marked_since_ms
        return 0 if published_once else lost_until_ms

    def _is_result_of(self, subject: Subject) -> Callable[[Found], bool]:
        if subject.row is None and subject.decoded is None and subject.entry_id is not None:
            # Nobody knows its order any more.
            wanted = b"entry_id", subject.entry_id.encode()
        else:
            wanted = b"order_id", (subject.order_id or "").encode()
        return lambda each: wanted in zip(each.fields[::2], each.fields[1::2], strict=True)

    def _compared(self, result: Found, record: OrderRecord | None) -> Result:
        if record is None or record.status not in WITH_RESULT:
            return Result(result.entry_id)
        # By the digest, as an audit compares: whatever is the same to it has no differences.
        if self._spelling.result_of(result.fields)[1] == self._spelling.digest_of(record):
            return Result(result.entry_id)
        differs = tuple(self._spelling.differences(result.fields, record))
        redone = only_redone(self._spelling.timestamp(result.fields), differs, record)
        return Result(result.entry_id, differs, redone)

    def letters(self, subject: Subject) -> Letters:
        """Return the dead letters of the entry, and of the one that it replays."""
        entries, marks = self._buried_entries(subject), _marks(subject)
        # Letters are dated by the clock of Redis; the ids of entries may be of any time to come.
        now_ms = int(self._clock().timestamp() * 1000)
        from_ms = min(min(map(entry_milliseconds, entries), default=0), now_ms - AHEAD_MS)
        found: deque[tuple[StoredLetter, wire.Letter, str]] = deque(maxlen=MOST_LETTERS)
        looked_at, size, are_all = 0, 0, True
        for letter in self._ask.letters.walk(max(from_ms, 0)):
            if looked_at == MOST_SEARCHED or size > MOST_SEARCHED_BYTES:
                are_all = False
                break
            looked_at += 1
            size += size_of(letter.fields)
            said, read = self._spelling.buried(letter.fields), wire.read_letter(letter.fields)
            # Of another source where it says nothing to us.
            named = said is not None and said.entry_id in entries
            if said is not None and said.entry_id == subject.entry_id and marks:
                named = said.mark in marks
            if said is not None and (named or (not entries and read.order_id == subject.order_id)):
                # The oldest makes room.
                are_all = are_all and len(found) < MOST_LETTERS
                found.append((letter, read, said.mark))
        told = tuple(_letter(*each, self._ask.hiding) for each in found)
        return Letters(told, Searched(looked_at, are_all))

    def _buried_entries(self, subject: Subject) -> set[str]:
        """The entry itself, and the one that it replays, as long as it is on the stream to say so."""
        decoded = subject.decoded
        replayed = None if decoded is None or isinstance(decoded, Undecodable) else decoded.replay_of
        # Whoever adds entries may have written anything there.
        return {each for each in (subject.entry_id, replayed) if each and is_entry_id(each)}

    def duplicates(self, subject: Subject) -> Duplicates:
        """Return the other entries of the order, from the one that owns its row on."""
        first = subject.entry_id if subject.row is None else subject.row.record.entry_id
        if not first or not is_entry_id(first) or subject.order_id is None:
            return Duplicates(searched=Searched(0, False))
        walked = self._ask.trail.orders(
            lambda each: self._subjects.holds(each, subject.order_id or ""),
            from_entry=first,
            most=MOST_SEARCHED_FOR_DUPLICATES,
        )
        others = tuple(each.entry_id for each in walked.found if each.entry_id != first)
        return Duplicates(others, Searched(walked.looked_at, walked.all))


def _marks(subject: Subject) -> set[str]:
    """Return what letters of the entry may be marked as: none where nobody knows what it held.

    Letters of other content are of what had its id before or since.
    """
    if subject.entry is not None:
        held = Delivery(subject.entry.entry_id, subject.entry.fields, 1, True)
        return {held.entry_id, mark_of_content(held)}
    return {subject.entry_id} if subject.another and subject.entry_id else set()


def _letter(stored: StoredLetter, read: wire.Letter, mark: str, hiding: wire.Hiding) -> Letter:
    closed = stored.closed
    originals = [part for pair in read.originals for part in pair]
    return Letter(
        letter_id=stored.letter_id,
        entry_id=read.entry_id,
        reason=read.reason,
        error=hiding.told(read.notes.get("error", ""), originals),
        mark=mark,
        state=stored.state,
        deliveries=read.notes.get("deliveries", ""),
        closed_by=None if closed is None else closed.by,
        closed_at=None if closed is None else closed.at,
        replayed_as=None if closed is None else closed.replayed_as,
        fields=shown_fields(read.originals, hiding),
    )


def pairs_of(fields: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Return names with their values."""
    return list(zip(fields[::2], fields[1::2], strict=True))


def shown_fields(pairs: Sequence[tuple[bytes, bytes]], hiding: wire.Hiding) -> tuple[Field, ...]:
    """Return the first fields of an entry as they may be shown."""
    first = ((wire.shown(name), value) for name, value in pairs[:MOST_FIELDS_SHOWN])
    return tuple(Field(_cut(name), _cut(hiding.value(name, value))) for name, value in first)


def _cut(shown: str) -> str:
    whole = len(shown) <= LONGEST_SHOWN
    return shown if whole else f"{shown[:LONGEST_SHOWN]}… ({len(shown):,} characters)"
