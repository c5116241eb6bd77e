"""What has no mark but may have been given out: a question to the streams, put once for the whole fleet."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import structlog
from msgspec import Struct
from msgspec.structs import replace

from worker.domain.deliveries import LOOKED_FOR, Delivery, Settlement, Settling
from worker.domain.evidence import Fate, Marked
from worker.domain.ports import Decoder, Entry, Monotonic
from worker.repair.ports import Marks, Rows, Settle, Spelling, Streams
from worker.source.unsourced import is_ours

log = structlog.get_logger(__name__)

# How far clocks may be apart: that of a replica, which dates rows, and that of Redis, which dates what is
# given out.
CLOCKS_APART_MS = 60_000
# Beyond this many nothing new is taken: each holds what it would publish.
MOST_OPEN = 5000
# How long one turn may read, and how long to wait where another replica reads.
STRETCH_S = 0.25
ASKED_EVERY_S = 0.2
LAST_TURNS = 8
# A few milliseconds of Redis.
ASKED_TOGETHER = 500

# The id of an entry, and what it is marked as where that is something else.
Key: TypeAlias = tuple[str, str]


class Doubt(Struct, frozen=True):
    """A settlement that others may have made, and the delivery it comes of, if it was one."""

    settlement: Settlement
    delivery: Delivery | None = None
    # Whether its row was written here, under a lease that held, and is settled for the first time: nobody can
    # have published it before marks were lost.
    written: bool = False

    @property
    def key(self) -> Key:
        """What it is known by."""
        return self.settlement.entry_id, self.settlement.mark

    @property
    def since_ms(self) -> int:
        """Nothing can have been given out for it before."""
        return self.settlement.stands_since_ms or 0


class Doubts:
    """Tells apart what others have given out and what nobody has, and settles it.

    What is on the streams is marked on the way, so that no other replica has to read them; what may have been
    trimmed from them, or deleted, is not published: only people can know whether its readers have it.
    """

    def __init__(
        self,
        streams: Streams,
        marks: Marks,
        rows: Rows,
        spelling: Spelling,
        settle: Settle,
        decoder: Decoder,
        *,
        clock: Monotonic,
    ) -> None:
        self._decoder = decoder
        self._spelling = spelling
        self._streams = streams
        self._marks = marks
        self._rows = rows
        self._settle = settle
        self._clock = clock
        self._open: dict[Key, Doubt] = {}
        self._walk: Walk | None = None
        self._due = clock()
        self._tried_with: tuple[Marked, int] | None = None

    def __bool__(self) -> bool:
        """Whether anything is in doubt."""
        return bool(self._open)

    @property
    def crowded(self) -> bool:
        """Whether there are too many to take more."""
        return len(self._open) >= MOST_OPEN

    @property
    def deliveries(self) -> list[Delivery]:
        """What is in doubt and was delivered here."""
        return [each.delivery for each in self._open.values() if each.delivery is not None]

    def add(self, settlement: Settlement, delivery: Delivery | None = None, *, written: bool = False) -> None:
        """Take up a settlement that is in doubt; `stands_since_ms` says since when it may have been made."""
        doubt = Doubt(settlement, delivery, written)
        self._open[doubt.key] = doubt
        self._tried_with = None

    def go_on(self) -> None:
        """Read for a stretch, and settle what is decided. Raises Outage; then the doubts stay."""
        if not self._open or self._clock() < self._due:
            return
        if self._walk is None:
            self._begin(self._decide() if self._marks_tell_more() else list(self._open.values()))
        ends_at = self._clock() + STRETCH_S
        while self._walk is not None and self._clock() < ends_at:
            self._read_on(self._walk)

    def finish(self) -> None:
        """Do what can be done before a process leaves: a few turns more.

        What is left stays pending, or is for a repair.
        """
        for _ in range(LAST_TURNS):
            self.go_on()

    def _marks_tell_more(self) -> bool:
        """Whether there is anything to decide since it was last tried: asking of each holds up the server."""
        known = self._marks.state(), len(self._open)
        news, self._tried_with = known != self._tried_with, known
        return news

    def _begin(self, undecided: Sequence[Doubt]) -> None:
        if not undecided:
            return
        if not self._marks.begin_walk():
            # What another replica finds marks tell.
            self._due = self._clock() + ASKED_EVERY_S
            return
        since_ms = max(0, min(each.since_ms for each in undecided) - 2 * CLOCKS_APART_MS)
        found = Found(self._streams, self._rows, self._spelling, self._decoder)
        self._walk = Walk(self._streams, found, since_ms, self._marks.state())
        log.warning("settled marks are not complete, reading what was given out", since_ms=since_ms)

    def _read_on(self, walk: "Walk") -> None:
        try:
            found = next(walk.pages, None)
            if found is None:
                self._end(walk)
                return
            whole = self._marks.begin_walk() and self._marks.remember(found, Marked(walk.made))
        except BaseException:
            self._walk = None
            raise
        if not whole:
            # Another one has taken over, or marks were lost once more: begin anew.
            self._walk = None

    def _end(self, walk: "Walk") -> None:
        self._walk = None
        if self._marks.remember((), walk.known()):
            self._decide()
        self._marks.end_walk()

    def _decide(self) -> list[Doubt]:
        """Settle what marks decide; return what they do not."""
        fates = dict(self._fates())
        decided, undecided = [], []
        for each in self._open.values():
            settlement = _decided(each, fates[each.settlement.entry_id])
            if settlement is None:
                undecided.append(each)
            else:
                decided.append(settlement)
        if decided:
            settling = self._settle(decided)
            still = set(settling.in_doubt)
            for settlement in decided:
                if settlement.entry_id not in still:
                    del self._open[settlement.entry_id, settlement.mark]
            _tell(settling, len(decided))
        return undecided

    def _fates(self) -> Iterator[tuple[str, Fate]]:
        entry_ids = [each.settlement.entry_id for each in self._open.values()]
        for first in range(0, len(entry_ids), ASKED_TOGETHER):
            yield from self._streams.fates(entry_ids[first : first + ASKED_TOGETHER]).items()


class Walk:
    """Reads what was given out since a time: `pages` yields what it has to be marked as."""

    def __init__(self, streams: Streams, found: "Found", since_ms: int, marks: Marked) -> None:
        self._streams = streams
        self._found = found
        self._since_ms = since_ms
        self._lost_until_ms = streams.results_lost_until_ms()
        self.made = marks.made
        self.pages = self._pages()

    def known(self) -> Marked:
        """Return what marks tell once all was read."""
        # Once more: they may have been trimmed before they were read.
        lost_until_ms = max(self._lost_until_ms, self._streams.results_lost_until_ms())
        walked_ms = self._since_ms and self._since_ms + CLOCKS_APART_MS
        complete_ms = max(walked_ms, lost_until_ms and lost_until_ms + CLOCKS_APART_MS)
        return Marked(self.made, complete_ms, walked_ms, walked_ms)

    def _pages(self) -> Iterator[list[str]]:
        first = f"{self._since_ms}-0"
        for page in self._streams.result_pages(first, "+"):
            yield self._found.marks_of_results(page)
        for page in self._streams.letter_pages(first, "+"):
            yield self._found.marks_of_letters(page)


class Found:
    """Tells which of the results and dead letters are ours: other fleets may give out on the same streams."""

    def __init__(self, streams: Streams, rows: Rows, spelling: Spelling, decoder: Decoder) -> None:
        self._streams = streams
        self._rows = rows
        self._spelling = spelling
        self._decoder = decoder

    def marks_of_results(self, page: Sequence[Entry]) -> list[str]:
        """Return the entries whose rows are ours, and of the order that the result names."""
        # Anybody may write to these streams.
        said = [named for each in page if (named := self._spelling.named(each.fields)) is not None]
        entry_ids = [entry_id for entry_id, _ in said]
        owned = self._rows.owned_by_source(entry_ids)
        owned |= self._without_source([each for each in entry_ids if each not in owned])
        return [entry_id for entry_id, order_id in said if owned.get(entry_id) == order_id]

    def marks_of_letters(self, page: Sequence[Entry]) -> list[str]:
        """Return what entries were marked as, of the letters that say that they are ours.

        One of the version before doesn't say it. A letter that comes twice costs a person a look; one of
        another fleet, taken for ours, an order.
        """
        said = [self._spelling.buried(each.fields) for each in page]
        return [each.mark for each in said if each is not None and each.sourced]

    def _without_source(self, entry_ids: Sequence[str]) -> dict[str, str]:
        rows = self._rows.rows_of_entries(entry_ids) if entry_ids else {}
        if not rows:
            return {}
        fields = self._streams.entries(list(rows))
        return {
            entry_id: row.order_id
            for entry_id, row in rows.items()
            if is_ours(row, fields.get(entry_id), self._decoder, alone=self._rows.alone)
        }


def _decided(doubt: Doubt, fate: Fate) -> Settlement | None:
    """Return what is to be done about a doubt, if that is known."""
    settlement, since_ms = doubt.settlement, doubt.since_ms
    buries = settlement.action == "bury"
    # What came under the id of another entry has a mark of its own; and what is old is nobody's who doesn't
    # hold it: settle tells.
    fate = replace(fate, marked=fate.marked and not settlement.mark, old=False)
    if fate.settled(since_ms, buried=buries) is not None:
        return settlement
    walked_ms = fate.marks.walked_since_ms
    if walked_ms is None or since_ms < walked_ms:
        return None
    # It was looked for. A letter that comes twice costs a person a look; one that never comes costs an order.
    if buries or doubt.written:
        return replace(settlement, stands_since_ms=LOOKED_FOR)
    return replace(settlement, action="unknown", fields=(), copy="")


def _tell(settling: Settling, decided: int) -> None:
    log.warning(
        "doubts settled",
        given_out=settling.new,
        found=decided - settling.new - settling.unknown - len(settling.left) - len(settling.in_doubt),
        unknown=settling.unknown,
        left=len(settling.left),
    )
    if settling.unknown:
        tell_of_the_unknown(settling.unknown)


def tell_of_the_unknown(orders: int) -> None:
    """Log that only a person can decide about these."""
    log.error(
        "nobody can know whether results were published: they were trimmed or deleted, and so were the marks",
        orders=orders,
        to_do="worker audit --repair --republish",
    )
