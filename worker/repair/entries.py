"""What entries own, and what is wrong with those that own no row."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from worker.domain.deliveries import Delivery, mark_of_content
from worker.domain.evidence import Fate, Finding
from worker.domain.orders import Order, OrderRecord, Undecodable, UnsoundOrder
from worker.domain.ports import Decoder
from worker.repair.judgement import letter_of, mark_of, of_entry
from worker.repair.ports import Memory, Rows, Streams
from worker.source.unsourced import answers_for

Decoded: TypeAlias = Order | UnsoundOrder | Undecodable
# Of orders: whether each has a result; None: it may have, where nobody sees it any more.
GivenOut: TypeAlias = Callable[[Sequence[str]], Mapping[str, bool | None]]


def results_may_be_gone(streams: Streams, results_maxlen: int) -> bool:
    """Whether results may have been trimmed or deleted, of whichever orders, as far as the server tells.

    Raises Outage.
    """
    if streams.results().may_be_trimmed(results_maxlen):
        return True
    return streams.counts_results() and streams.results_lost_until_ms() > 0


class Entries:
    """Judges entries of the orders stream by the table, the marks and the remembered dead letters.

    Raises Outage.
    """

    def __init__(self, streams: Streams, rows: Rows, memory: Memory, decoder: Decoder) -> None:
        self._streams = streams
        self._rows = rows
        self._memory = memory
        self._decoder = decoder

    def owned(self, entries: Mapping[str, tuple[bytes, ...]]) -> dict[str, str]:
        """Return the order ids of the rows that entries own.

        Entries of another order, which came with the id of a row's entry, are left out.
        """
        owned = self._rows.owned(list(entries)) if entries else {}
        decoded = {each: self._decoder.decode(Delivery(each, entries[each], 1, True)) for each in owned}
        unsure = [each for each, order in decoded.items() if order.order_id != owned[each]]
        rows = self._rows.rows_of_entries(unsure) if unsure else {}
        ours = {each for each, row in rows.items() if self._answers(row, decoded[each])}
        return {each: owned[each] for each in decoded if each not in unsure or each in ours}

    def _answers(self, row: OrderRecord, order: Order | UnsoundOrder | Undecodable) -> bool:
        """Whether the row of an entry id answers for an entry that does not hold the row's very order id."""
        if isinstance(order, Undecodable) and order.rules_out(row):
            return False
        if row.unsourced:
            return answers_for(row, order, self._decoder, alone=self._rows.alone)
        return order.order_id is None

    def judged(
        self, entries: dict[str, tuple[bytes, ...]], fates: dict[str, Fate], given_out: GivenOut
    ) -> Iterator[tuple[str, Finding | None]]:
        """Yield what is wrong with entries that own no row, each with its id.

        Those that are buried as they should be are left out. `given_out` says of orders without a row whether
        they have results.
        """
        if not entries:
            return
        held = {each: Delivery(each, fields, 1, True) for each, fields in entries.items()}
        decoded = {each: self._decoder.decode(delivery) for each, delivery in held.items()}
        known = {each: order for each, order in decoded.items() if order.fingerprint}
        wanted = [order.order_id for order in known.values() if order.order_id is not None]
        standing = self._rows.standing(wanted) if wanted else {}
        results = given_out([each for each in wanted if each not in standing])
        displaced = self._rows.owned(list(entries))
        asked = [*map(mark_of_content, held.values()), *held]
        buried = self._memory.letters(asked, conflicts=True)
        letters = {each: letter_of(held[each], buried, displaced=each in displaced) for each in entries}
        marks = {
            each: letter.mark
            if (letter := letters[each])
            else mark_of(held[each], order, stands=order.order_id in standing, displaced=each in displaced)
            for each, order in decoded.items()
        }
        others = [mark for each, mark in marks.items() if mark != each]
        fates = {**fates, **(self._streams.fates(others) if others else {})}
        for entry_id, order in decoded.items():
            row = standing.get(order.order_id or "") if entry_id in known else None
            letter, mark = letters[entry_id], marks[entry_id]
            result = results.get(order.order_id or "", False)
            finding = of_entry(entry_id, order, fates[mark], row, letter, mark, given_out=result)
            if finding is not None or letter is None:
                yield entry_id, finding
