"""Compares what was published lately with the table, and notes what has no row until it has one again."""

from collections.abc import Iterator, Sequence

import structlog
from msgspec import Struct

from worker.domain.deliveries import Delivery, entry_milliseconds, entry_order
from worker.domain.evidence import LostRow
from worker.domain.ports import Decoder, Entry, Monotonic
from worker.domain.pruning import day_of
from worker.repair.ports import Book, Rows, Spelling, Streams

log = structlog.get_logger(__name__)

# How long an idle loop goes on at a time; a busy one does a page between two batches.
IDLE_STRETCH_S = 0.25
# How often the newest result is noted, and whether rows have come back is asked.
EVERY_S = 10.0
# How long to wait where another replica looks.
ASKED_EVERY_S = 0.5


class Look(Struct):
    """One look at the results from a time on, up to the last.

    `newest` is the last that is known to have been published before PostgreSQL was away. `looks`: how many
    had begun then.
    """

    from_ms: int
    last: str
    newest: str
    looks: int
    after: str
    number: int | None = None
    # A result without a row is told once an earlier one has its row: rows that somebody deletes for their age
    # are the first of all. Where none has, all are lost, and the look begins once more.
    tells: bool = False
    passed_over: bool = False


class LostRows:
    """Compares what was published lately with the table.

    It does so page by page, beside the work, once for the whole fleet if possible. It begins with the
    replica, and anew whenever that had to connect to PostgreSQL again. A result is published after its row is
    committed and is read before the row is asked for, so a row that is not there was lost.
    """

    def __init__(
        self,
        streams: Streams,
        rows: Rows,
        book: Book,
        spelling: Spelling,
        decoder: Decoder,
        *,
        window_s: int,
        clock: Monotonic,
    ) -> None:
        self._streams = streams
        self._rows = rows
        self._book = book
        self._spelling = spelling
        self._decoder = decoder
        self._window_ms = window_s * 1000
        self._clock = clock
        self._connections = 0
        self._look: Look | None = None
        # A look that is begun anew, or left to another replica, may have told some already.
        self._told = 0
        self._newest: str | None = None
        self._turn_due = self._due = clock()
        self._asked_from: int | None = None

    def go_on(self, *, idle: bool) -> None:
        """Do a page, or as many as fit into a stretch where nobody waits.

        Raises Outage; the page is done again then.
        """
        if not self._window_ms:
            return
        if self._rows.connections != self._connections:
            self._begin()
        ends_at = self._clock() + IDLE_STRETCH_S
        while self._page() and idle and self._clock() < ends_at:
            pass

    def leave(self) -> None:
        """Leave what is begun to others at once. Raises Outage; then they wait for a lease."""
        if self._look is not None and self._look.number is not None:
            self._book.rounds.end_turn()

    def _begin(self) -> None:
        connections, looks, last = (
            self._rows.connections,
            self._book.rounds.begun(),
            self._streams.last_result(),
        )
        # Where the last look has not ended, what was published before that is still in question.
        newest = self._look.newest if self._look else self._newest or last
        from_ms = max(0, entry_milliseconds(newest) - self._window_ms)
        self._look = Look(from_ms, last, newest, looks, f"{from_ms}-0")
        self._connections = connections

    def _page(self) -> bool:
        """Look at the next page, or ask whether lost rows are back; return whether there may be more."""
        if self._look is not None:
            return self._may(self._look) and self._look_on(self._look)
        if self._clock() >= self._due:
            self._due = self._clock() + EVERY_S
            self._newest, self._asked_from = self._streams.last_result(), 0
        return self._asked_from is not None and self._ask_again(self._asked_from)

    def _may(self, look: Look) -> bool:
        """Whether it is our turn to look, and nobody else has done it."""
        if self._clock() < self._turn_due:
            return False
        rounds = self._book.rounds
        if not rounds.take_turn():
            self._turn_due = self._clock() + ASKED_EVERY_S
            return False
        if look.number is None:
            number, from_ms = rounds.ended() or (0, 0)
            if number > look.looks and from_ms <= entry_milliseconds(look.newest):
                self._end()
                return False
            look.number = rounds.begin()
        return True

    def _look_on(self, look: Look) -> bool:
        page = next(iter(self._streams.result_pages(look.after, look.last)), None)
        if page is not None:
            self._told += self._tell(look, page)
            look.after = f"({page[-1].entry_id}"
        elif look.passed_over and not look.tells:
            look.tells, look.after = True, f"{look.from_ms}-0"
        else:
            self._book.end(look.number or 0, look.from_ms)
            self._end()
        return True

    def _tell(self, look: Look, page: Sequence[Entry]) -> int:
        """Note the rows that this page misses, and return how many are new."""
        # Anybody may write to this stream.
        said = [(each.entry_id, named) for each in page if (named := self._spelling.named(each.fields))]
        owned = self._rows.owned([entry_id for _, (entry_id, _) in said]) if said else {}
        lost = []
        for result_id, (entry_id, order_id) in said:
            if owned.get(entry_id) == order_id:
                look.tells = look.tells or entry_order(result_id) <= entry_order(look.newest)
            elif look.tells:
                lost.append(LostRow(entry_id, order_id, result_id))
            else:
                look.passed_over = True
        ours = list(self._ours(lost)) if lost else []
        return self._book.note(ours) if ours else 0

    def _ours(self, lost: Sequence[LostRow]) -> Iterator[LostRow]:
        """Yield those whose results are ours, as far as anything tells.

        Other fleets may publish on the same stream.
        """
        pruned = self._rows.pruned_days()
        entry_ids = [each.entry_id for each in lost]
        fates, entries = self._streams.fates(entry_ids), self._streams.entries(entry_ids)
        others = self._rows.of_other_sources([each.order_id for each in lost])
        for each in lost:
            fate, fields = fates[each.entry_id], entries.get(each.entry_id)
            if fate.past and day_of(each.entry_id) in pruned:
                # Nobody can tell it from one whose row was pruned.
                continue
            # Of an entry that has left the stream the mark tells, as long as it is kept.
            kept = fate.marked or (fate.old and self._rows.alone())
            ours = self._names(each, fields) if fields else kept
            if ours and each.order_id not in others:
                yield each

    def _names(self, lost: LostRow, fields: tuple[bytes, ...]) -> bool:
        """Whether our entry of that id holds the order that the result names."""
        order_id = self._decoder.decode(Delivery(lost.entry_id, fields, 0, False)).order_id
        return order_id is not None and lost.order_id in {
            order_id,
            self._decoder.called_before(order_id, lost.entry_id),
        }

    def _end(self) -> None:
        self._book.rounds.end_turn()
        # What is newest from here on was published while this connection held.
        self._look, self._due = None, self._clock()
        if self._told:
            log.error(
                "postgresql lost rows of orders whose results were published",
                orders=self._told,
                to_do="worker audit --repair, before any producer sends them again",
            )
            self._told = 0

    def _ask_again(self, first: int) -> bool:
        """Take back what is noted on the next page and has a row again; return whether there may be more."""
        page = self._book.page(first)
        owned = self._rows.owned([entry_id for entry_id, _ in page]) if page else {}
        mended = [each for each in page if owned.get(each[0]) == each[1]]
        if mended:
            self._book.take_back(mended)
            log.info("rows that postgresql had lost are there again", orders=len(mended))
        self._asked_from = first + len(page) - len(mended) if page else None
        return bool(page)
