"""The balance at the end: what went in, what came out, and whether anything was lost or done twice."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """An order as the table has it."""

    order_id: str
    entry_id: str
    status: str
    trades: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that there is at the end; entries, results and letters name an entry id and an order id each."""

    sent: Sequence[tuple[str, str]]
    entries: Sequence[tuple[str, str]]
    results: Sequence[tuple[str, str]]
    letters: Sequence[tuple[str, str]]
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Balance:
    """The evidence, counted."""

    evidence: Evidence

    @property
    def orders(self) -> set[str]:
        """The ids of all orders that went in, by the producer and by the stream."""
        return {order_id for _, order_id in (*self.evidence.sent, *self.evidence.entries)}

    @property
    def results(self) -> int:
        """How many results were published."""
        return len(self.evidence.results)

    @property
    def dead_letters(self) -> int:
        """How many entries were buried."""
        return len(self.evidence.letters)

    @property
    def duplicates(self) -> list[str]:
        """Entries of an order that has a result by another entry, and that were not buried themselves."""
        answered = {order_id for _, order_id in self.evidence.results}
        settled = {entry_id for entry_id, _ in (*self.evidence.results, *self.evidence.letters)}
        return [
            entry_id
            for entry_id, order_id in self.evidence.entries
            if entry_id not in settled and order_id in answered
        ]

    @property
    def lost(self) -> list[str]:
        """Orders that went in and have no result or no row, in order."""
        answered = {order_id for _, order_id in self.evidence.results}
        recorded = {row.order_id for row in self.evidence.rows}
        return sorted(self.orders - (answered & recorded))

    @property
    def executed_twice(self) -> list[str]:
        """Orders with a second result, a second row or a second trade, in order."""
        results = Counter(order_id for _, order_id in self.evidence.results)
        rows = Counter(row.order_id for row in self.evidence.rows)
        several = {row.order_id for row in self.evidence.rows if row.trades > 1}
        several |= {each for counts in (results, rows) for each, count in counts.items() if count > 1}
        return sorted(several)

    def faults(self, *, duplicates: int, dead_letters: int) -> list[str]:
        """Return one sentence for each thing that is not as it must be, with so many of either sent."""
        evidence = self.evidence
        faults = []
        if unseen := {each for each, _ in evidence.sent} - {each for each, _ in evidence.entries}:
            faults.append(f"The stream has no more what was sent as {_some(unseen)}.")
        if self.lost:
            faults.append(f"Lost: {_some(self.lost)} has no result, or no row.")
        if self.executed_twice:
            faults.append(f"Executed twice: {_some(self.executed_twice)}.")
        if unknown := {order_id for _, order_id in evidence.results} - self.orders:
            faults.append(f"There is a result of {_some(unknown)}, which nobody has sent.")
        if odd := [row.order_id for row in evidence.rows if (row.status == "FILLED") != (row.trades > 0)]:
            faults.append(f"The status of {_some(odd)} and its trades do not agree.")
        if len(self.duplicates) != duplicates:
            faults.append(f"{duplicates} duplicates were sent, {len(self.duplicates)} found.")
        if self.dead_letters != dead_letters:
            faults.append(f"{dead_letters} dead letters were to be expected, there are {self.dead_letters}.")
        return faults


def _some(names: Sequence[str] | set[str]) -> str:
    first, *others = sorted(names)
    return f"{first} and {len(others):,} more" if others else first
