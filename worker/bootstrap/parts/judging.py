"""Says of the story of an order what an audit would find: it is judged by the same rules."""

from msgspec.structs import replace

from worker.bootstrap.parts.subject import Decoded, Subject
from worker.bootstrap.parts.witnesses import Witnesses
from worker.domain.deliveries import Delivery, entry_milliseconds
from worker.domain.evidence import BuriedEntry, Finding, Invariant, PublishedResult, by_mark
from worker.domain.orders import DeadReason, Status
from worker.repair.doubts import CLOCKS_APART_MS
from worker.repair.entries import results_may_be_gone
from worker.repair.judgement import Case, is_duplicate, letter_of, mark_of, of_entry, of_row
from worker.source.unsourced import is_ours
from worker.status.story import Story
from worker.store import OrderRow
from worker.stream import Found


class Judging:
    """Judges stories. Raises Outage."""

    def __init__(self, witnesses: Witnesses) -> None:
        self._ask = witnesses

    def judged(self, story: Story, subject: Subject) -> Story:
        """Return the story with what an audit would find."""
        row = subject.row
        if row is not None and subject.is_owner:
            return self._by_row(story, subject, row)
        if subject.entry is not None and subject.decoded is not None:
            return self._by_entry(story, subject.entry, subject.decoded)
        if row is None and story.results.found and not story.fate.in_flight and not story.may_be_pruned:
            what = f"the result {story.results.found[0].entry_id} has no row"
            lost = Finding(Invariant.ONE_RESULT, subject.entry_id, subject.order_id, what)
            return replace(story, findings=(lost,))
        return story

    def _by_row(self, story: Story, subject: Subject, row: OrderRow) -> Story:
        record = row.record
        if row.source not in {"", self._ask.source} or subject.entry_id is None:
            return story
        fields = None if subject.entry is None else subject.entry.fields
        if not story.results.found and not is_ours(
            record, fields, self._ask.decoder, alone=self._ask.rows.alone
        ):
            return replace(story, unclaimed=True)
        # What owns no row has another mark, but to the version before: that is no conflict of a row.
        letters = [each for each in story.letters.found if each.mark == record.entry_id]
        buried = [each for each in letters if each.reason != DeadReason.CONFLICT]
        if record.status is Status.DEAD and not buried and not story.letters.searched.all:
            return story
        results, found = story.results, story.results.found
        whole = results.searched.all and not results.lost_until_ms
        case = Case(
            record,
            story.fate,
            PublishedResult(found[0].entry_id, b"", len(found)) if found else None,
            BuriedEntry(buried[0].letter_id, len(buried), record.entry_id) if buried else None,
            differs=() if not found or found[0].redone else found[0].differs,
            visible=results.searched.all and self._shows_result_of(record.entry_id),
            there=subject.entry is not None,
            never=whole and self._shows_all_since(record.stands_since_ms),
        )
        return replace(story, findings=tuple(of_row(case)))

    def _given_out_unseen(self, story: Story) -> bool | None:
        """Whether an order without a row has a result where none was found: None where it may have."""
        gone = results_may_be_gone(self._ask.evidence, self._ask.results_maxlen)
        return None if gone or not story.results.searched.all else False

    def _shows_result_of(self, entry_id: str) -> bool:
        """Whether an entry's result can't have been trimmed by the worker, as an audit counts it."""
        kept = self._ask.evidence.results()
        trimmed = kept.may_be_trimmed(self._ask.results_maxlen)
        return not trimmed or entry_milliseconds(entry_id) > entry_milliseconds(kept.first)

    def _shows_all_since(self, since_ms: int) -> bool:
        lost_until_ms = self._ask.evidence.results_lost_until_ms()
        return not lost_until_ms or since_ms >= lost_until_ms + CLOCKS_APART_MS

    def _by_entry(self, story: Story, entry: Found, decoded: Decoded) -> Story:
        """Return the story of an entry that owns no row."""
        entry_id, held = entry.entry_id, Delivery(entry.entry_id, entry.fields, 1, True)
        standing = None
        if decoded.fingerprint and decoded.order_id is not None:
            standing = self._ask.rows.standing([decoded.order_id]).get(decoded.order_id)
        displaced = entry_id in self._ask.rows.owned([entry_id])
        buried = by_mark([(each.mark, each.letter_id) for each in story.letters.found])
        letter = letter_of(held, buried, displaced=displaced)
        stands = standing is not None
        mark = letter.mark if letter else mark_of(held, decoded, stands=stands, displaced=displaced)
        fate = story.fate if mark == entry_id else self._ask.evidence.fates([mark])[mark]
        given_out = True if story.results.found else self._given_out_unseen(story)
        finding = of_entry(entry_id, decoded, fate, standing, letter, mark, given_out=given_out)
        if letter is None and not story.letters.searched.all:
            finding = None
        findings = () if finding is None else (finding,)
        duplicate = standing is not None and is_duplicate(entry_id, decoded, standing)
        return replace(story, fate=fate, is_duplicate=duplicate, findings=findings)
