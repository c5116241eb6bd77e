"""Who is next: retries that are due, abandoned entries in groups that shrink, else a batch of new ones."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from worker.consumer.claims import Claims, Unseen
from worker.consumer.lease import Lease
from worker.consumer.pace import Pace
from worker.consumer.ports import Orders
from worker.consumer.reads import Reads
from worker.consumer.retries import Retries
from worker.consumer.tally import Tally
from worker.domain.deliveries import FIRST_COUNT, Delivery
from worker.domain.ports import Monotonic

SECOND_DELIVERY_GROUP = 32


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
        batch_bytes: int,
        block_ms: int,
        lease_ms: int,
        max_deliveries: int,
        clock: Monotonic,
        pause: Callable[[float], object],
        first_count: int = FIRST_COUNT,
        prepare: Callable[[Sequence[Delivery]], None] = lambda _: None,
    ) -> None:
        self._lease = lease
        self._tally = tally
        self._pace = pace
        self._block_s = block_ms / 1000
        self._clock = clock
        unseen = Unseen()
        self._reads = Reads(
            stream,
            self._hold,
            unseen,
            pace=pace,
            first_count=first_count,
            batch_bytes=batch_bytes,
            clock=clock,
            pause=pause,
            prepare=prepare,
        )
        self._claims = Claims(
            stream, lease, unseen, pace=pace, lease_ms=lease_ms, max_deliveries=max_deliveries, clock=clock
        )
        self._retries = Retries(most=pace.most, most_bytes=batch_bytes, clock=clock)
        self._waiting: deque[Delivery] = deque()
        self._new_first = self._was_new = False

    @property
    def waiting(self) -> bool:
        """Whether deliveries were taken that nobody has begun; retries that back off are not among them."""
        return bool(self._waiting) or self._reads.waiting

    @property
    def retries_waiting(self) -> int:
        """How many deliveries back off, to be tried again."""
        return len(self._retries)

    @property
    def claimed(self) -> int:
        """How many entries were claimed that others had abandoned."""
        return self._claims.claimed

    def room_for(self, deliveries: Sequence[Delivery]) -> int:
        """Return how many of these may wait in hand to be tried again."""
        return self._retries.room_for(deliveries)

    @property
    def empty(self) -> bool:
        """Whether nothing was taken that has not been handed out."""
        return not (self.waiting or self._retries)

    def read_ahead(self) -> None:
        """Ask for the next batch where the last one was full and nothing else waits."""
        if not self.waiting:
            self._reads.ask_ahead()

    def arrive(self) -> None:
        """Take in hand and prepare what was asked for; what can't be had is looked for by the next `take`."""
        self._reads.arrive()

    def take(self) -> list[Delivery]:
        """Return the next group, empty where nothing came within BLOCK_MS. Raises Outage."""
        # First of all: it must not be taken for something that arrived unseen.
        self.arrive()
        if not self._waiting:
            # The least charged first: many at a time, then those that must run alone, last of all what takes
            # the process down again and again: each time it does, whoever is behind it waits for another
            # lease.
            self._waiting.extend(sorted(self._hold(self._claims.take()), key=lambda delivery: delivery.count))
        new = self._new()
        self._was_new = bool(new)
        return new or self._due_retry() or self._group() or self._reads.take(self._until_next_duty)

    def take_one(self) -> list[Delivery]:
        """Return a delivery, another each time: a new one while few are in hand, else the next that waits."""
        self.arrive()
        self._waiting.extend(self._reads.arrived())
        due = self._due_retry()
        if due:
            return due
        if len(self._waiting) + len(self._retries) < SECOND_DELIVERY_GROUP:
            found = self._reads.take_some(1, 0.0 if self._waiting else self._until_next_duty)
            if found:
                return found
        return [self._waiting.popleft()] if self._waiting else []

    def postpone(self, delivery: Delivery, *, at_least_s: float = 0.0) -> None:
        """Keep a delivery in hand and hand it out again alone, after a back-off that grows with its count."""
        self._let_new_pass()
        self._retries.postpone(delivery, at_least_s=at_least_s)

    def set_aside(self, delivery: Delivery) -> None:
        """Keep a delivery in hand and hand it out again, alone, after a long time."""
        self._let_new_pass()
        self._retries.set_aside(delivery)

    def put_back(self, deliveries: Sequence[Delivery]) -> None:
        """Keep deliveries in hand and hand them out again, in groups that shrink with their charges."""
        for delivery in deliveries:
            if self._size_with(delivery) > 1:
                self._waiting.append(delivery)
            else:
                self.postpone(delivery)

    def put_first(self, deliveries: Sequence[Delivery]) -> None:
        """Keep deliveries in hand that were not begun, and hand them out before any other."""
        self._waiting.extendleft(reversed(deliveries))

    def take_back(self, charges: Mapping[str, int]) -> dict[str, int]:
        """Take charges of deliveries back that were put back; return what these are charged with now."""

        def charged_less(delivery: Delivery) -> Delivery:
            return replace(delivery, count=delivery.count - charges.get(delivery.entry_id, 0))

        self._waiting = deque(map(charged_less, self._waiting))
        back = [*self._waiting, *self._retries.change(charged_less)]
        return {each.entry_id: each.count for each in back if each.entry_id in charges}

    def leftovers(self) -> list[Delivery]:
        """Return, and forget, what was taken and not handed out."""
        self.arrive()
        left = [*self._waiting, *self._reads.arrived(), *self._retries.leftovers()]
        self._waiting.clear()
        return left

    @property
    def _until_next_duty(self) -> float:
        """How long a read may wait, in seconds."""
        due = [self._claims.next_look, *([] if self._retries.next_due is None else [self._retries.next_due])]
        return min(self._block_s, min(due) - self._clock())

    def _new(self) -> list[Delivery]:
        """Return what is new, where something that was tried again came before it, or has just failed."""
        if not self._new_first:
            return []
        self._new_first = False
        return self._reads.take(0.0)

    def _let_new_pass(self) -> None:
        # Unless it has just passed: where some of every batch fails, the others that wait would never come.
        self._new_first = self._new_first or not self._was_new

    def _due_retry(self) -> list[Delivery]:
        due = self._retries.take_due()
        if due is None:
            return []
        self._new_first = True
        return [due]

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

    def _size_with(self, delivery: Delivery) -> int:
        """Return with how many others, itself included, a delivery may run."""
        match delivery.count_before:
            case 0 if delivery.trimmed:
                # It is not going to be executed.
                return self._pace.most
            case 0:
                return self._pace.at_once
            case 1:
                return min(SECOND_DELIVERY_GROUP, self._pace.at_once)
            case _:
                return 1

    def _hold(self, deliveries: Iterable[Delivery], *, since: float | None = None) -> list[Delivery]:
        held = self._lease.hold(deliveries, since=since)
        self._tally.take(len(held))
        return held
