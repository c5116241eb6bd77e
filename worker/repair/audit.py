"""Walks through orders, table, results and dead letters, and names what breaks an invariant.

Whatever looks wrong at first is only suspected. What is suspected is looked at again in the direction of the
flow: who holds the entry, then its row, then results and letters up to their present end. Whatever nobody
held before must by then be where it belongs, so replicas at work cause no false alarm.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from worker.domain.deliveries import (
    BEGINNING,
    entry_milliseconds,
    entry_order,
    is_entry_id,
)
from worker.domain.evidence import Fate, Finding, Invariant, PublishedResult, Remedy
from worker.domain.orders import (
    WITH_RESULT,
    OrderRecord,
    Status,
    quantity_of,
)
from worker.domain.ports import Decoder, Entry
from worker.repair.doubts import CLOCKS_APART_MS
from worker.repair.entries import Entries, results_may_be_gone
from worker.repair.judgement import Case, of_row, only_redone
from worker.repair.ports import Memory, Rows, Spelling, Streams
from worker.repair.pruned import PrunedRows
from worker.repair.scope import Range, Seen
from worker.source.unsourced import is_ours

FOREIGN = (
    "{} rows name entries that no stream has given: whatever they are, they are no orders of this fleet;"
    " give them a source of their own in the table orders, for one order {}"
)
LOOKED_AT_TOGETHER = 500
LOOKED_AT_AGAIN = 5
UNCLAIMED = (
    "{} rows without a source have no result here, and their entries are gone:"
    " nobody can tell whether they are rows of this fleet; --unsourced takes them for such"
)

Progress = Callable[[str, int, int], None]


class Audit:
    """One audit. `findings` may be asked for once. Raises Outage; nothing is changed by it."""

    def __init__(
        self,
        streams: Streams,
        rows: Rows,
        memory: Memory,
        spelling: Spelling,
        decoder: Decoder,
        *,
        since_ms: int,
        results_maxlen: int,
        progress: Progress,
        unsourced: bool,
    ) -> None:
        self._streams = streams
        self._rows = rows
        self._memory = memory
        self._spelling = spelling
        self._decoder = decoder
        self._progress = progress
        self._claimed = unsourced
        self._entries = Entries(streams, rows, memory, decoder)
        self.seen = Seen()
        self._pruned = PrunedRows()
        results = streams.results()
        trimmed = results.may_be_trimmed(results_maxlen)
        self._results_maxlen = results_maxlen
        self.range = Range(since_ms, streams.orders(), results, streams.letters(), trimmed)
        self._recorded_until = rows.recorded_until()
        self._last_result, self._last_letter = self.range.results.last, self.range.letters.last
        self._without_rows: list[str] = []
        self._a_foreign: str | None = None

    def findings(self) -> Iterator[Finding]:
        """Yield what breaks an invariant, each once, as it is proven."""
        self._pruned.know(self._rows.pruned_days())
        self._remember_results()
        self._remember_letters()
        self._memory.make_searchable()
        self._walk_orders()
        self._walk_rows()
        self._ask_of_the_unknown()
        self._memory.suspect_unseen_results()
        for finding in self._look_again():
            self.seen.findings += 1
            yield finding
        for finding in self._pruned.findings():
            self.seen.findings += 1
            yield finding
        for count, told in (
            (self.seen.unsourced, UNCLAIMED.format(self.seen.unsourced)),
            (self.seen.foreign, FOREIGN.format(self.seen.foreign, self._a_foreign)),
        ):
            if count:
                self.seen.findings += 1
                yield Finding(Invariant.ONE_RESULT, None, None, told)

    def _remember_results(self) -> None:
        first, last, total = f"{self.range.since_ms}-0", self._last_result, self.range.results.length
        for page in self._streams.result_pages(first, last):
            self._add_results(page)
            self._progress("results", self.seen.results, total)
        self._notice_trimming(self.range.results.first)

    def _add_results(self, page: Sequence[Entry]) -> None:
        said = ((self._spelling.result_of(each.fields), each.entry_id) for each in page)
        self._memory.add_results(
            (order_id, result_id, digest, entry_id) for (order_id, digest, entry_id), result_id in said
        )
        self.seen.results += len(page)

    def _notice_trimming(self, seen_from: str) -> None:
        """Call after results were read: some of those after an id may have been trimmed before they were."""
        results = self._streams.results()
        if entry_order(results.first) <= entry_order(seen_from):
            return
        if seen_from != BEGINNING or results.may_be_trimmed(self._results_maxlen):
            self.range.results, self.range.results_trimmed = results, True

    def _remember_letters(self) -> None:
        first, last, total = f"{self.range.since_ms}-0", self._last_letter, self.range.letters.length
        for page in self._streams.letter_pages(first, last):
            self._add_letters(page)
            self._progress("dead letters", self.seen.letters, total)

    def _add_letters(self, page: Sequence[Entry]) -> None:
        buried = ((each.entry_id, self._spelling.buried(each.fields)) for each in page)
        self._memory.add_letters((letter_id, said) for letter_id, said in buried if said is not None)
        self.seen.letters += len(page)

    def _walk_orders(self) -> None:
        first, total = f"{self.range.since_ms}-0", self.range.orders.length
        for page in self._streams.order_pages(first, self.range.orders.last):
            self._suspect_among(page)
            self.seen.orders += len(page)
            self._progress("orders", self.seen.orders, total)

    def _suspect_among(self, page: Sequence[Entry]) -> None:
        fates = self._streams.fates([each.entry_id for each in page])
        landed = [each for each in page if not fates[each.entry_id].in_flight]
        self.seen.in_flight += len(page) - len(landed)
        owned = self._entries.owned({each.entry_id: each.fields for each in landed})
        unmarked = (each.entry_id for each in landed if fates[each.entry_id].unmarked)
        self._memory.suspect_orders(owned[each] for each in unmarked if each in owned)
        rest = {each.entry_id: each.fields for each in landed if each.entry_id not in owned}
        judged = list(self._entries.judged(rest, fates, lambda _: {}))
        self.seen.duplicates += sum(finding is None for _, finding in judged)
        self._memory.suspect_entries(entry_id for entry_id, finding in judged if finding is not None)

    def _walk_rows(self) -> None:
        # Spelled with as many digits as ids have now; older ones are left out below.
        from_entry = f"{self.range.since_ms}-" if self.range.since_ms else ""
        total = self._rows.expected_rows()
        for page in self._rows.pages(from_entry=from_entry, recorded_until=self._recorded_until):
            rows = [row for row in self._of_streams(page) if self.range.holds(row.entry_id)]
            results = self._results(rows)
            # What owns no row has another mark, but to the version before: that is no conflict of a row.
            letters = self._memory.letters([row.entry_id for row in rows], conflicts=False)
            self._memory.suspect_orders(
                row.order_id
                for row in rows
                if row.entry_id in letters
                or row.status not in WITH_RESULT
                or (result := results.get(row.order_id)) is None
                or result.times > 1
                or result.digest != self._spelling.digest_of(row)
                or quantity_of(row.trades) != row.filled_quantity
            )
            self.seen.rows += len(rows)
            first_ms = entry_milliseconds(self.range.orders.first)
            self.seen.trimmed += sum(entry_milliseconds(row.entry_id) < first_ms for row in rows)
            self._progress("rows", self.seen.rows, total)

    def _results(self, rows: Sequence[OrderRecord], others: Sequence[str] = ()) -> dict[str, PublishedResult]:
        """Return the results of rows, less those of pruned rows of the same orders, and of other orders."""
        owners = {row.order_id: row.entry_id for row in rows}
        asked = dict.fromkeys([*owners, *others])
        return self._memory.results(list(asked), partial(self._pruned.is_of_before, owners))

    def _of_streams(self, page: Sequence[OrderRecord]) -> list[OrderRecord]:
        rows = []
        for row in page:
            if is_entry_id(row.entry_id):
                rows.append(row)
            else:
                self.seen.foreign += 1
                self._a_foreign = self._a_foreign or row.order_id
        return rows

    def _ask_of_the_unknown(self) -> None:
        for page in self._streams.unknown():
            in_range = [each for each in page if self.range.holds(each)]
            owned = self._rows.owned(in_range) if in_range else {}
            self._memory.suspect_orders(owned.values())
            self._without_rows += [each for each in in_range if each not in owned]

    def _look_again(self) -> Iterator[Finding]:
        for entry_id in self._without_rows:
            what = "nobody can know whether its result was published, and its row is gone"
            yield Finding(Invariant.ONE_RESULT, entry_id, None, what, Remedy.MARK)
        done, total = 0, self._memory.suspects()
        for entry_ids in self._memory.suspected_entries(LOOKED_AT_TOGETHER):
            yield from self._look_at_entries(entry_ids)
            done += len(entry_ids)
            self._progress("suspects", done, total)
        for order_ids in self._memory.suspected_orders(LOOKED_AT_TOGETHER):
            yield from self._look_at_orders(order_ids)
            done += len(order_ids)
            self._progress("suspects", done, total)

    def _look_at_entries(self, entry_ids: Sequence[str]) -> Iterator[Finding]:
        fates = self._streams.fates(entry_ids)
        entries = self._streams.entries(entry_ids)
        owned = self._entries.owned(entries)
        self._catch_up()
        rest = {each: fields for each, fields in entries.items() if each not in owned}
        for _, finding in self._entries.judged(rest, fates, self._given_out):
            if finding is not None:
                yield finding

    def _given_out(self, order_ids: Sequence[str]) -> dict[str, bool | None]:
        """Return which orders without a row have results; None where one may be gone, or out of range."""
        if not order_ids:
            return {}
        found = self._memory.results(order_ids)
        unseen = self.range.since_ms > 0 or results_may_be_gone(self._streams, self._results_maxlen)
        return {each: True if each in found else None if unseen else False for each in order_ids}

    def _look_at_orders(self, order_ids: Sequence[str]) -> Iterator[Finding]:
        unsteady = list(order_ids)
        for _ in range(LOOKED_AT_AGAIN):
            before = self._rows.rows(unsteady)
            # Of these nothing can be asked; they are told together.
            unsteady = [each for each in unsteady if each not in before or is_entry_id(before[each].entry_id)]
            before = {each: before[each] for each in unsteady if each in before}
            fates = self._streams.fates([row.entry_id for row in before.values()]) if before else {}
            self._catch_up()
            # A result is published after its row is written, so where one shows up its row must be looked at
            # again.
            after = self._rows.rows(unsteady)
            # Behind the rows: whatever was pruned by then is counted.
            self._pruned.know(self._rows.pruned_days())
            steady = [each for each in unsteady if before.get(each) == after.get(each)]
            yield from self._judge_orders(steady, after, fates)
            unsteady = [each for each in unsteady if before.get(each) != after.get(each)]
            if not unsteady:
                return
        self.seen.unsteady += len(unsteady)

    def _judge_orders(
        self, order_ids: Sequence[str], rows: dict[str, OrderRecord], fates: dict[str, Fate]
    ) -> Iterator[Finding]:
        results = self._results([rows[each] for each in order_ids if each in rows], order_ids)
        entry_ids = [rows[each].entry_id for each in order_ids if each in rows]
        letters = self._memory.letters(entry_ids, conflicts=False)
        open_ids = [row.entry_id for row in rows.values() if row.status is Status.SUBMITTED]
        # Another's may have its id by now: made pending, that would not find out what became of it.
        gone = set(open_ids).difference(
            self._entries.owned(self._streams.entries(open_ids)) if open_ids else ()
        )
        others = self._rows.of_other_sources([each for each in results if each not in rows])
        strangers = self._strangers(
            [row for each, row in rows.items() if row.unsourced and each not in results], fates
        )
        past = self._past([found.entry_id for each, found in results.items() if each not in rows])
        lost_until_ms = self._streams.results_lost_until_ms()
        closed_until_ms = self._streams.letters_gone_until_ms()
        for order_id in order_ids:
            row, result = rows.get(order_id), results.get(order_id)
            if order_id in others or order_id in strangers:
                # Of another fleet, which publishes on the same stream, or did not say yet whose its rows are.
                continue
            if row is not None:
                in_range = self.range.holds(row.entry_id)
                visible = self.range.shows_result_of(row.entry_id)
                there = row.entry_id not in gone
                letter = letters.get(row.entry_id)
                never = self._shows_all_since(row.stands_since_ms, lost_until_ms)
                # A letter comes after its row, by clocks that may be apart.
                closed = row.stands_since_ms < closed_until_ms + CLOCKS_APART_MS if closed_until_ms else False
                case = Case(
                    row, fates[row.entry_id], result, letter,
                    in_range=in_range, visible=visible, there=there, never=never, closed=closed,
                )  # fmt: skip
                self.seen.letters_out_of_range += in_range and case.lacks_closed_letter
                yield from of_row(self._compared(case))
            elif result is not None:
                yield from self._without_row(order_id, result, past)

    def _past(self, entry_ids: Sequence[str]) -> Collection[str]:
        """Return those of which nothing is kept, on days from which rows were pruned."""
        asked = [each for each in entry_ids if self._pruned.may_be(each)]
        fates = self._streams.fates(asked) if asked else {}
        return {each for each, fate in fates.items() if fate.past}

    def _without_row(
        self, order_id: str, result: PublishedResult, past: Collection[str]
    ) -> Iterator[Finding]:
        if result.entry_id in past and self._pruned.meet(result.entry_id):
            self.seen.pruned += 1
            return
        what = f"the result {result.result_id} has no row"
        told = what if order_id else f"{what}: it names no order"
        yield Finding(Invariant.ONE_RESULT, None, order_id or None, told)

    def _shows_all_since(self, since_ms: int, lost_until_ms: int) -> bool:
        """Whether every result published since a time is there, by clocks that may be apart, and was read."""
        return all(
            not each or since_ms >= each + CLOCKS_APART_MS for each in (self.range.since_ms, lost_until_ms)
        )

    def _strangers(self, rows: Sequence[OrderRecord], fates: Mapping[str, Fate]) -> set[str]:
        """Return the orders of rows without a source that nothing shows as ours; count those that may be."""
        if not rows:
            return set()
        entries, strangers = self._streams.entries([row.entry_id for row in rows]), set()
        for row in rows:
            fields = entries.get(row.entry_id)
            if is_ours(row, fields, self._decoder, alone=self._rows.alone, claimed=self._claimed):
                continue
            strangers.add(row.order_id)
            if fields is None and not fates[row.entry_id].in_flight and self.range.holds(row.entry_id):
                visible = self.range.shows_result_of(row.entry_id)
                self.seen.unsourced += visible
                self.seen.results_out_of_range += not visible
        return strangers

    def _compared(self, case: Case) -> Case:
        if case.result is None:
            fate = case.fate
            self.seen.results_out_of_range += (
                case.settled is not False and not case.visible and not fate.in_flight and not fate.unknown
            )
            return case
        if case.row.status not in WITH_RESULT or case.result.digest == self._spelling.digest_of(case.row):
            return case
        fields = self._streams.result(case.result.result_id)
        differs = self._spelling.differences(fields, case.row) if fields else []
        if only_redone(self._spelling.timestamp(fields), differs, case.row):
            self.seen.redone += 1
            differs = []
        return replace(case, differs=differs)

    def _catch_up(self) -> None:
        """Remember what was published and buried since the last look."""
        result, letter = self._streams.results().last, self._streams.letters().last
        for page in self._streams.result_pages(f"({self._last_result}", result):
            self._add_results(page)
        self._notice_trimming(self._last_result)
        for page in self._streams.letter_pages(f"({self._last_letter}", letter):
            self._add_letters(page)
        self._last_result, self._last_letter = result, letter
