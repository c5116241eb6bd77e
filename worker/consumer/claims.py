"""Entries left pending: by others whose lease ran out, by replies that never arrived, or trimmed since."""

from collections.abc import Sequence

import structlog
from msgspec import Struct
from msgspec.structs import replace

from worker.consumer.lease import Lease
from worker.consumer.pace import Pace
from worker.consumer.ports import Orders
from worker.domain.deliveries import BEGINNING, LEAST_DEATHS, MOST_DELIVERIES, Delivery
from worker.domain.errors import Outage
from worker.domain.ports import Monotonic

log = structlog.get_logger(__name__)


class Unseen(Struct):
    """Whether entries may be pending for us whose names never arrived: by a read, or by a claim."""

    read: bool = False
    claimed: bool = False


class Claims:
    """Asks four times a lease whether it is its turn to look for them. What it finds is not in hand yet.

    One replica looks at a time, at all that is pending; others join in where that is more than a batch.
    """

    def __init__(
        self,
        stream: Orders,
        lease: Lease,
        unseen: Unseen,
        *,
        pace: Pace,
        lease_ms: int,
        max_deliveries: int,
        clock: Monotonic,
    ) -> None:
        self._stream = stream
        self._lease = lease
        self._unseen = unseen
        self._pace = pace
        self._look_every_s = lease_ms / 4000
        self._clock = clock
        self._max_deliveries = max_deliveries
        self._cursor = BEGINNING
        self._more_trimmed = False
        self.next_look = clock()
        self.claimed = 0

    def take(self) -> Sequence[Delivery]:
        """Return a page of what was left, where it is time to look. Raises Outage."""
        found: Sequence[Delivery] = ()
        if self._unseen.read or self._unseen.claimed:
            found = self._believed(self._arrived_unseen())
        if not found and self._clock() >= self.next_look:
            found = self._believed(self._abandoned())
        if not found and self._more_trimmed:
            found = self._trimmed()
        return found

    def _arrived_unseen(self) -> list[Delivery]:
        found = self._stream.own_pending(self._pace.at_once, known=self._lease.held)
        if not self._unseen.claimed:
            # The read that was never seen charged 1 for an execution that never began. Where a claim was not
            # seen either, 1 may as well be what its last owner began, and stays: rather that than one
            # execution too many.
            found = [replace(each, count=0) if each.count == 1 else each for each in found]
        if len(found) < self._pace.at_once:
            self._unseen.read = self._unseen.claimed = False
        if found:
            log.info("took entries that arrived unseen", count=len(found))
        return found

    def _abandoned(self) -> list[Delivery]:
        count = self._pace.at_once
        if self._cursor == BEGINNING and not self._stream.begin_look():
            self.next_look = self._clock() + self._look_every_s
            return []
        try:
            page = self._stream.claim(self._cursor, count)
            if len(page.deliveries) == count:
                self._stream.end_look()
        except Outage:
            self._unseen.claimed = True
            raise
        self._cursor = page.cursor
        held = self._lease.held
        found = [delivery for delivery in page.deliveries if delivery.entry_id not in held]
        if found:
            self.claimed += len(found)
            log.info("claimed abandoned entries", count=len(found))
        if page.cursor == BEGINNING:
            self.next_look = self._clock() + self._look_every_s
            self._more_trimmed = True
        return found

    def _believed(self, found: Sequence[Delivery]) -> list[Delivery]:
        """Return these, those of an impossible count with as many charges left as deaths are needed.

        XNACK FATAL sets the count to the most there is, and one more goes below zero: neither tells of a
        single death, and nothing is buried without.
        """
        charges = self._max_deliveries - LEAST_DEATHS
        strange = {each.entry_id for each in found if not 0 <= each.count <= MOST_DELIVERIES}
        for each in found:
            if each.entry_id in strange:
                log.warning(
                    "delivery count not believed, it was set by somebody",
                    entry_id=each.entry_id,
                    count=each.count,
                    counts_as=charges,
                )
        return [replace(each, count=charges) if each.entry_id in strange else each for each in found]

    def _trimmed(self) -> list[Delivery]:
        noted, held = self._stream.trimmed(self._pace.most), self._lease.held
        new = [Delivery(each, (), 0, False) for each in noted if each not in held]
        # At once, as long as some are met that nobody here has in hand.
        self._more_trimmed = bool(new) and len(noted) == self._pace.most
        return new
