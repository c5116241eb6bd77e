"""The repair replicas do themselves: what was committed lately and is not settled as far as Redis knows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from msgspec import Struct

from worker.domain.deliveries import Restoration, is_entry_id
from worker.domain.errors import ConfigurationError, Outage, OutOfMemory, Stopped, named
from worker.domain.evidence import Fate, Owner, Repaired
from worker.domain.orders import OrderRecord
from worker.domain.ports import Decoder, Monotonic, Renderer, Rounds, WallClock
from worker.domain.times import utc_text
from worker.repair.doubts import Doubts
from worker.repair.ports import Mending, Rows, Streams
from worker.repair.restorations import is_settled, restoration_of, settlement_of
from worker.source.unsourced import is_ours

log = structlog.get_logger(__name__)

# Rows a page: a few milliseconds of each server.
PAGE = 1000
# How long an idle loop goes on at a time; a busy one does a page between two batches.
IDLE_STRETCH_S = 0.25
# How long to wait where another replica repairs.
ASKED_EVERY_S = 0.5
# Far longer than a page takes. A replica whose batches take longer leaves the rest to one that has less to
# do.
TURN_S = 5.0


class Since(Struct):
    """What there was when a walk was wanted: any that begins later will do and looks at rows from then on."""

    begun: int
    recorded_at: datetime


class Walk(Struct):
    """One walk through the rows up to a time.

    `number` is its own as a round of the fleet: 0 where that can't be noted.
    """

    after: Owner
    until: datetime
    number: int
    # What is in doubt is decided before it ends: nobody else will ask for it.
    ended: bool = False


class Repair:
    """Publishes what was committed lately and is not settled as far as Redis knows.

    It does so page by page, beside the work. It is wanted when the replica starts, and anew whenever Redis
    was away or has lost the group. One replica walks for all that want it; the mark makes it harmless should
    several.
    """

    def __init__(
        self,
        streams: Streams,
        mending: Mending,
        rows: Rows,
        rounds: Rounds,
        renderer: Renderer,
        *,
        consumer: str,
        window_s: int,
        clock: Monotonic,
        now: WallClock,
        open_doubts: Doubts,
        decoder: Decoder,
    ) -> None:
        self._streams = streams
        self._mending = mending
        self._rows = rows
        self._rounds = rounds
        self._renderer = renderer
        self._consumer = consumer
        self._window_s = window_s
        self._clock = clock
        self._now = now
        self._wanted = window_s > 0
        self._since: Since | None = None
        self._walk: Walk | None = None
        self._turn_due = clock()
        self._done = Repaired()
        self._unclaimed = 0
        self.doubts = open_doubts
        self.given_back = Counter[str]()
        self._decoder = decoder

    @property
    def under_way(self) -> bool:
        """Whether rows may lack their results that it has not come to yet."""
        return self._wanted and not (self._walk is not None and self._walk.ended)

    def want(self) -> None:
        """Begin anew with the next turn: Redis may have lost what it had."""
        self._wanted, self._since, self._walk = self._window_s > 0, None, None

    def go_on(self, *, idle: bool) -> bool:
        """Do a page, or as many as fit into a stretch where nobody waits.

        Return whether the next turn goes further. Raises Outage; the page is done again then.
        """
        if not self._wanted or not self._may() or self._since is None:
            return False
        walk = self._walk = self._walk or self._begin(self._since)
        ends_at = self._clock() + IDLE_STRETCH_S
        more = False
        # What is in doubt marks will tell of all that comes after it.
        while not (walk.ended or self.doubts):
            more = self._page(walk)
            if not (more and idle and self._clock() < ends_at):
                break
        if walk.ended and not self.doubts:
            self._end(walk)
        return more

    def leave(self) -> None:
        """Leave what is begun to others at once. Raises Outage; then they wait for a lease."""
        if self._walk is not None:
            self._rounds.end_turn()

    def _may(self) -> bool:
        """Whether it is our turn to walk, and nobody else has walked since it was wanted."""
        if self._clock() < self._turn_due:
            return False
        if self._since is None:
            begun = self._rounds.begun()
            self._since = Since(begun, self._rows.now() - timedelta(seconds=self._window_s))
        if not self._rounds.take_turn():
            self._turn_due = self._clock() + ASKED_EVERY_S
            return False
        number, window_s = self._rounds.ended() or (0, 0)
        if number > self._since.begun and window_s >= self._window_s:
            self._rounds.end_turn()
            self._wanted, self._walk = False, None
            return False
        return True

    def _begin(self, since: Since) -> Walk:
        try:
            number = self._rounds.begin()
        except OutOfMemory:
            # Retention waits for the end of the repair, and may be all that can make room.
            number = 0
        self._done, self._unclaimed = Repaired(), 0
        return Walk(Owner(since.recorded_at, ""), self._rows.recorded_until(), number)

    def _page(self, walk: Walk) -> bool:
        """Repair the next page; return whether there may be another."""
        if self._rows.streams_lately() > 1:
            # Their rows are told apart by nothing: it waits until one stream is left.
            return False
        page = self._rows.recorded(walk.after, walk.until, PAGE)
        entry_ids = self._named_by_streams(page)
        fates = self._streams.fates(entry_ids) if entry_ids else {}
        landed = [each for each in entry_ids if fates[each].unmarked and not fates[each].in_flight]
        if landed:
            self._restore_each(landed, fates)
        self._done.looked_at += len(page)
        if len(page) < PAGE:
            walk.ended = True
            return False
        walk.after = page[-1]
        return True

    def _named_by_streams(self, page: Sequence[Owner]) -> list[str]:
        entry_ids = [each.entry_id for each in page if is_entry_id(each.entry_id)]
        skipped = len(page) - len(entry_ids)
        if skipped:
            self._done.skipped += skipped
            one = next(each.entry_id for each in page if not is_entry_id(each.entry_id))
            log.error(
                "not repaired, these rows name entries that no stream has given",
                rows=skipped,
                entry_id=one,
                to_do="give rows of another origin a source of their own in the table orders",
            )
        return entry_ids

    def _restore_each(self, entry_ids: Sequence[str], fates: Mapping[str, Fate]) -> None:
        """Restore these together, and what that can't be done with by itself.

        A row that can't be read, or rendered, is skipped.
        """
        try:
            self._restore(entry_ids, fates)
        except (Outage, Stopped, ConfigurationError):
            raise
        except Exception as error:
            if len(entry_ids) == 1:
                self._done.skipped += 1
                log.exception("not repaired", entry_id=entry_ids[0], error=named(error))
                return
            middle = len(entry_ids) // 2
            self._restore_each(entry_ids[:middle], fates)
            self._restore_each(entry_ids[middle:], fates)

    def _restore(self, entry_ids: Sequence[str], fates: Mapping[str, Fate]) -> None:
        rows = list(self._rows.rows_of_entries(entry_ids).values())
        fields = self._streams.entries([row.entry_id for row in rows])
        lost = []
        for row in rows:
            if not is_ours(row, fields.get(row.entry_id), self._decoder, alone=self._rows.alone):
                self._done.left_alone += 1
                self._unclaimed += row.entry_id not in fields
                continue
            settlement = settlement_of(row, fields.get(row.entry_id, ()), self._renderer, self._decoder)
            if is_settled(row, fates[row.entry_id]) is None:
                self.doubts.add(settlement)
            else:
                lost.append((row, restoration_of(settlement)))
        self._publish(lost)

    def _publish(self, lost: Sequence[tuple[OrderRecord, Restoration]]) -> None:
        restored = self._mending.restore([restoration for _, restoration in lost]) if lost else []
        for (row, restoration), done in zip(lost, restored, strict=True):
            if done:
                log.warning(
                    "repaired", action=restoration.action, entry_id=row.entry_id, order_id=row.order_id
                )
                self.given_back[restoration.action] += 1
                self._done.published += restoration.action == "publish"
                self._done.buried += restoration.action == "bury"
            else:
                self._done.left_alone += 1

    def _end(self, walk: Walk) -> None:
        report = note_of(self._done, by=self._consumer, how="replica", at=self._now())
        try:
            self._mending.note(report)
            # Redis may have lost what it had while nobody here noticed anything: then it is walked once more.
            forgotten = bool(walk.number) and not self._rounds.end(walk.number, self._window_s)
        except OutOfMemory as full:
            log.warning("repair not noted", reason=full.reason)
            forgotten = False
        self._rounds.end_turn()
        self._wanted, self._walk = forgotten, None
        if self._unclaimed:
            log.warning(
                "rows without a source were left alone, since nobody can tell whose they are",
                rows=self._unclaimed,
                to_do="worker audit; with --repair --unsourced it takes them for rows of this fleet",
            )
        log.info("repair ended", window_s=self._window_s, **{name: report[name] for name in COUNTS})


COUNTS = ("looked_at", "published", "buried", "marked", "made_pending", "left_alone", "skipped")


def note_of(done: Repaired, *, by: str, how: str, at: datetime) -> dict[str, str]:
    """Return the note that a repair leaves."""
    counts = {name: str(getattr(done, name)) for name in COUNTS}
    return {"at": utc_text(at), "by": by, "how": how, **counts}
