"""Lets go of rows page by page, each in a transaction of its own, and says why others stay."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta

from worker.domain.deliveries import is_entry_id
from worker.domain.errors import Refused, RowRefused, TimedOut
from worker.domain.evidence import Fate
from worker.domain.orders import Status
from worker.domain.pruning import (
    CLOCKS_APART_S,
    Candidate,
    ComingReplays,
    KeptFrom,
    Refusal,
    Step,
    day_of,
    time_of,
)
from worker.pruning.ports import Exported, Letters, Rows, Streams

# A few milliseconds of PostgreSQL, locks on so many rows, and nobody waits for longer.
TOGETHER = 500
# Of a page in which each row is refused, each takes two transactions: pages are no longer than this then.
LEAST_TOGETHER = 16


class Prune:
    """One walk through the rows of our source, from the oldest on. Raises Outage; then a page is done again.

    A row may go whose order can't come again but as a new one. `window_s` is for how long producers are
    promised that it is the same: from when it was recorded, or came again last, until the oldest entry was
    added that any group of the stream may still be given. So whatever was sent within the window has been
    worked off before, and is a duplicate.
    """

    def __init__(
        self,
        streams: Streams,
        rows: Rows,
        letters: Letters,
        *,
        window_s: float,
        exported: Exported | None = None,
    ) -> None:
        self._streams = streams
        self._rows = rows
        self._letters = letters
        self._window = timedelta(seconds=window_s + CLOCKS_APART_S)
        self._exported = exported
        self._after: Candidate | None = None
        self._together = TOGETHER
        self._why: str | None = None

    def begin_anew(self) -> None:
        """Begin with the oldest row again: those that have stayed are looked at once more."""
        self._after = None

    def page(self, before: datetime, *, dry_run: bool = False) -> Step:
        """Let the next rows go that were recorded before a time; `dry_run`: only say what would."""
        kept_from = self._kept_from()
        if kept_from is None:
            return Step(None)
        until = self._until(before, kept_from)
        together = self._together
        page = self._rows.page(self._after, until, together)
        if not page:
            return Step(until)
        refused = self._refused(page, kept_from)
        free = [each for each in page if each.order_id not in refused]
        self._why = None
        kept = Counter[Refusal]() if dry_run or not free else self._let_go(free, until)
        self._after = page[-1]
        self._together = min(TOGETHER, together * 2)
        if kept[Refusal.REFERENCED] or kept[Refusal.REFUSED]:
            self._together = min(together, max(LEAST_TOGETHER, together // 2))
        pruned, counts = len(free) - kept.total(), kept + Counter(refused.values())
        return Step(until, pruned, dict(counts), page[-1].recorded_at, self._why, more=len(page) == together)

    def _let_go(self, rows: Sequence[Candidate], until: datetime) -> Counter[Refusal]:
        """Let rows go, and return why others stay.

        Halving finds one that may not be deleted in about 2 log2(n) transactions.
        """
        try:
            gone = self._rows.remove(rows, until)
        except TimedOut:
            # Another's key without an index, say: with less the next try may work.
            self._together = max(1, len(rows) // 2)
            raise
        except Refused as refused:
            if len(rows) > 1:
                middle = len(rows) // 2
                return self._let_go(rows[:middle], until) + self._let_go(rows[middle:], until)
            self._why = self._why or f"{rows[0].order_id}: {refused}"
            return Counter([Refusal.REFERENCED if isinstance(refused, RowRefused) else Refusal.REFUSED])
        return +Counter({Refusal.CHANGED: len(rows) - gone})

    def _kept_from(self) -> KeptFrom | None:
        """Return from when on entries may come again; None where nobody knows it now."""
        # Of two streams of one source nothing tells whose a row is.
        return None if self._rows.streams_lately() > 1 else self._streams.kept_from()

    def _until(self, before: datetime, kept_from: KeptFrom) -> datetime:
        """Return up to when rows may go that were recorded before a time."""
        settled = min(self._rows.now(), time_of(kept_from.entries_ms))
        return min(before, settled - self._window)

    def _refused(self, page: Sequence[Candidate], kept_from: KeptFrom) -> dict[str, Refusal]:
        """Return why rows stay, by order id."""
        usual = [each for each in page if is_entry_id(each.entry_id) and day_of(each.entry_id) is not None]
        fates = self._streams.fates([each.entry_id for each in usual]) if usual else {}
        # Asked for behind `kept_from`: what is replayed in between is added behind it, too.
        replays = self._letters.coming(kept_from) if usual else ComingReplays()
        # Whose rows without a source are is known where there is only one.
        ours = not any(each.unsourced for each in page) or self._rows.alone()
        held = None if self._exported is None else self._exported.holds(page)
        return dict(self._reasons(page, fates, replays, held, ours=ours))

    @staticmethod
    def _reasons(
        page: Sequence[Candidate],
        fates: dict[str, Fate],
        replays: ComingReplays | None,
        held: Collection[str] | None,
        *,
        ours: bool,
    ) -> Iterator[tuple[str, Refusal]]:
        for each in page:
            reason = _refusal(each, fates.get(each.entry_id), replays)
            if each.unsourced and not ours:
                reason = Refusal.UNSOURCED
            elif reason is None and held is not None and each.order_id not in held:
                reason = Refusal.NOT_EXPORTED
            if reason is not None:
                yield each.order_id, reason


def _refusal(row: Candidate, fate: Fate | None, replays: ComingReplays | None) -> Refusal | None:
    """Return why a row stays, by what is known of its entry."""
    if fate is None:
        return Refusal.STRANGE
    if row.status == Status.SUBMITTED:
        return Refusal.SUBMITTED
    # A letter of a repeated order is of another entry than the row: without it a replay would be a new order.
    if replays is None or replays.open.has(row):
        return Refusal.LETTER_OPEN
    # The letter is closed, and its order is still to come: without its row it would be a new one.
    if replays.replayed.has(row):
        return Refusal.REPLAYED
    for stands, reason in (
        (fate.in_flight, Refusal.IN_FLIGHT),
        (fate.unknown, Refusal.UNKNOWN),
        # Whoever sleeps with its entry in hand may settle it as long as marks of its age are kept.
        (fate.marked, Refusal.MARKED),
        (not fate.old, Refusal.UNSETTLED),
    ):
        if stands:
            return reason
    return None
