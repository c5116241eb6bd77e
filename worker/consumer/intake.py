"""What to take next: retries that are due, abandoned entries in groups that shrink, else a batch of new ones."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import structlog
from msgspec.structs import replace

from worker.consumer.lease import Lease
from worker.consumer.pace import Pace
from worker.consumer.ports import Monotonic, Orders
from worker.consumer.tally import Tally
from worker.domain.deliveries import BEGINNING, Delivery
from worker.domain.errors import Outage

log = structlog.get_logger(__name__)

SECOND_DELIVERY_GROUP = 32
FIRST_RETRY_AFTER_S = 0.5
SET_ASIDE_FOR_S = 10.0


class Intake:
    """Hands out groups of deliveries, all of them in hand (leased) from the moment they are taken.

    A delivery that was never begun runs with a whole batch; one whose earlier delivery ended without an
    outcome runs with at most 31 others, and from then on alone: so whatever takes the process down ends up
    being the only one that is blamed for it.
    """

    def __init__(
        self,
        stream: Orders,
        lease: Lease,
        tally: Tally,
        *,
        pace: Pace,
        block_ms: int,
        lease_ms: int,
        clock: Monotonic,
        prepare: Callable[[Sequence[Delivery]], None] = lambda _: None,
    ) -> None:
        self._stream = stream
        self._prepare = prepare
        self._lease = lease
        self._tally = tally
        self._pace = pace
        self._block_s = block_ms / 1000
        self._scan_every_s = lease_ms / 4000
        self._clock = clock
        self._cursor = BEGINNING
        self._next_scan = clock()
        self._waiting: deque[Delivery] = deque()
        self._retries: list[tuple[float, Delivery]] = []
        self._more_is_waiting = False
        self._asked_at: float | None = None
        self._asked_for = 0
        self._more_trimmed = self._new_first = False
        self._arrived: list[Delivery] = []
        self._read_unseen = False
        self._claimed_unseen = False

    @property
    def waiting(self) -> bool:
        """Whether deliveries were taken that nobody has begun yet; retries that back off are not among them."""
        return bool(self._waiting or self._arrived) or self._asked_at is not None

    def read_ahead(self) -> None:
        """Ask for the next batch where the last one was full, so that it is there when the loop comes to it.

        Only just before a commit: nobody is to hold for long what others could be working on.
        """
        if not self._more_is_waiting or self.waiting:
            return
        self._more_is_waiting, self._asked_at = False, self._clock()
        try:
            self._asked_for = self._pace.at_once
            self._stream.read_ahead(self._asked_for)
        except Outage as outage:
            self._asked_at, self._read_unseen = None, True
            log.debug("not read ahead", reason=outage.reason)

    def arrive(self) -> None:
        """Take in hand, and prepare, what was asked for; where it can't be had, it is looked for by the next `take`."""
        if self._asked_at is None:
            return
        asked_at, self._asked_at = self._asked_at, None
        try:
            self._arrived = self._stream.arrived()
        except Outage as outage:
            self._read_unseen = True
            log.debug("what was read ahead has not arrived", reason=outage.reason)
            return
        # Their leases run since then.
        self._arrived = self._hold(self._arrived, since=asked_at)
        self._prepare(self._arrived)

    def take(self) -> list[Delivery]:
        """Return the next group, empty where nothing came within BLOCK_MS. Raises Outage."""
        # First of all: it must not be taken for something that arrived unseen.
        self.arrive()
        if not self._waiting and (self._read_unseen or self._claimed_unseen):
            self._take_unseen()
        if not self._waiting and self._clock() >= self._next_scan:
            self._claim_page()
        if not self._waiting and self._more_trimmed:
            self._ask_for_trimmed()
        return self._new() or self._due_retry() or self._group() or self._read()

    def take_one(self) -> list[Delivery]:
        """Return one delivery, another one each time: a new one while few are in hand, else the next that waits."""
        self.arrive()
        self._waiting.extend(self._arrived)
        self._arrived = []
        due = self._due_retry()
        if due:
            return due
        if len(self._waiting) + len(self._retries) < SECOND_DELIVERY_GROUP:
            found = self._wait_for_more(1, block_s=0 if self._waiting else self._block_s)
            if found:
                return found
        return [self._waiting.popleft()] if self._waiting else []

    @property
    def room(self) -> int:
        """How many more may wait in hand to be tried again; others are better off on the stream, where nobody renews them."""
        return max(0, self._pace.most - len(self._retries))

    @property
    def empty(self) -> bool:
        """Whether nothing was taken that has not been handed out."""
        return not (self.waiting or self._retries)

    def postpone(self, delivery: Delivery, *, at_least_s: float = 0.0) -> None:
        """Keep a delivery in hand and hand it out again, alone, after a back-off that grows with its count."""
        back_off_s = FIRST_RETRY_AFTER_S * 2.0 ** min(delivery.count_before, 6)
        self._hand_out_after(max(back_off_s, at_least_s), delivery)

    def put_back(self, deliveries: Sequence[Delivery]) -> None:
        """Keep deliveries in hand and hand them out again, in groups that shrink with what they are charged with."""
        for delivery in deliveries:
            if self._size_with(delivery) > 1:
                self._waiting.append(delivery)
            else:
                self.postpone(delivery)

    def take_back(self, charges: Mapping[str, int]) -> dict[str, int]:
        """Take charges of deliveries back that were put back; return what these are charged with now."""
        self._waiting = deque(_charged_less(each, charges) for each in self._waiting)
        self._retries = [(due, _charged_less(each, charges)) for due, each in self._retries]
        back = [*self._waiting, *(each for _, each in self._retries)]
        return {each.entry_id: each.count for each in back if each.entry_id in charges}

    def put_first(self, deliveries: Sequence[Delivery]) -> None:
        """Keep deliveries in hand that were not begun, and hand them out before any other."""
        self._waiting.extendleft(reversed(deliveries))

    def set_aside(self, delivery: Delivery) -> None:
        """Keep a delivery in hand and hand it out again, alone, after a long time."""
        self._hand_out_after(SET_ASIDE_FOR_S, delivery)

    def _hand_out_after(self, delay_s: float, delivery: Delivery) -> None:
        self._new_first = True
        self._retries.append((self._clock() + delay_s, delivery))
        self._retries.sort(key=lambda retry: retry[0])

    def leftovers(self) -> list[Delivery]:
        """Return, and forget, what was taken and not handed out."""
        self.arrive()
        left = [*self._waiting, *self._arrived, *(delivery for _, delivery in self._retries)]
        self._waiting.clear()
        self._arrived = []
        self._retries.clear()
        return left

    def _new(self) -> list[Delivery]:
        """Return what is new, where something that was tried again came before it, or has just failed."""
        if not self._new_first:
            return []
        self._new_first = False
        return self._read(wait=False)

    def _due_retry(self) -> list[Delivery]:
        if self._retries and self._retries[0][0] <= self._clock():
            self._new_first = True
            return [self._retries.pop(0)[1]]
        return []

    def _group(self) -> list[Delivery]:
        if not self._waiting:
            return []
        size = self._size_with(self._waiting[0])
        group = [self._waiting.popleft()]
        while self._waiting and len(group) < size:
            if self._size_with(self._waiting[0]) < size:
                break
            group.append(self._waiting.popleft())
        return group

    def _read(self, *, wait: bool = True) -> list[Delivery]:
        if self._arrived:
            found, self._arrived, asked_for = self._arrived, [], self._asked_for
        else:
            asked_for = self._pace.at_once
            found = self._wait_for_more(asked_for, block_s=self._block_s if wait else 0.0)
        self._more_is_waiting = len(found) == asked_for
        return found

    def _wait_for_more(self, count: int, *, block_s: float) -> list[Delivery]:
        now = self._clock()
        wake_at = min([self._next_scan, *(due for due, _ in self._retries[:1])])
        block_s = max(0.0, min(block_s, wake_at - now))
        try:
            return self._hold(self._stream.read(count, int(block_s * 1000)))
        except Outage:
            # The server may have handed out entries whose names never arrived here.
            self._read_unseen = True
            raise

    def _take_unseen(self) -> None:
        found = self._stream.own_pending(self._pace.at_once, known=self._lease.held)
        if not self._claimed_unseen:
            # The read that was never seen charged 1 for an execution that never began. Where a claim was not seen
            # either, 1 may as well be what its last owner began, and stays: rather that than one execution too many.
            found = [replace(each, count=0) if each.count == 1 else each for each in found]
        self._queue(found)
        if len(found) < self._pace.at_once:
            self._read_unseen = self._claimed_unseen = False
        if found:
            log.info("took entries that arrived unseen", count=len(found))

    def _claim_page(self) -> None:
        try:
            page = self._stream.claim(self._cursor, self._pace.at_once)
        except Outage:
            self._claimed_unseen = True
            raise
        self._cursor = page.cursor
        held = self._lease.held
        found = [delivery for delivery in page.deliveries if delivery.entry_id not in held]
        self._queue(found)
        if found:
            log.info("claimed abandoned entries", count=len(found))
        if page.cursor == BEGINNING:
            self._next_scan = self._clock() + self._scan_every_s
            self._more_trimmed = True

    def _ask_for_trimmed(self) -> None:
        noted, held = self._stream.trimmed(self._pace.most), self._lease.held
        new = [Delivery(each, (), 0, False) for each in noted if each not in held]
        # At once, as long as some are met that nobody here has in hand.
        self._more_trimmed = bool(new) and len(noted) == self._pace.most
        self._queue(new)

    def _queue(self, deliveries: list[Delivery]) -> None:
        # The least charged first: many at a time, then those that must run alone, last of all what takes the process down
        # again and again: each time it does, whoever is behind it waits for another lease.
        self._waiting.extend(sorted(self._hold(deliveries), key=lambda delivery: delivery.count))

    def _size_with(self, delivery: Delivery) -> int:
        """Return with how many others, itself included, a delivery may run."""
        match delivery.count_before:
            case 0 if not delivery.fields:
                # It is not going to be executed.
                return self._pace.most
            case 0:
                return self._pace.at_once
            case 1:
                return min(SECOND_DELIVERY_GROUP, self._pace.at_once)
            case _:
                return 1

    def _hold(self, deliveries: list[Delivery], *, since: float | None = None) -> list[Delivery]:
        held = self._lease.hold(deliveries, since=since)
        self._tally.take(len(held))
        return held


def _charged_less(delivery: Delivery, charges: Mapping[str, int]) -> Delivery:
    return replace(delivery, count=delivery.count - charges.get(delivery.entry_id, 0))
