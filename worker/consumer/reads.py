"""New entries: read when the loop comes for them, or asked for while the batch before is being committed."""

from collections.abc import Callable, Sequence

import structlog

from worker.consumer.claims import Unseen
from worker.consumer.pace import Pace
from worker.consumer.ports import Holding, Orders
from worker.domain.deliveries import Delivery, next_count, size_of
from worker.domain.errors import Outage
from worker.domain.ports import Monotonic

log = structlog.get_logger(__name__)

# Some services, those without a server of one's own above all, answer at once what was to wait: then so many
# seconds go by from one read to the next.
LONGEST_PAUSE_S = 0.1


class Reads:
    """What reads return is in hand. What may have been handed out and never arrived is noted in `unseen`."""

    def __init__(
        self,
        stream: Orders,
        hold: Holding,
        unseen: Unseen,
        *,
        pace: Pace,
        first_count: int,
        batch_bytes: int,
        clock: Monotonic,
        pause: Callable[[float], object],
        prepare: Callable[[Sequence[Delivery]], None],
    ) -> None:
        self._stream = stream
        self._hold = hold
        self._unseen = unseen
        self._pace = pace
        self._batch_bytes = batch_bytes
        # As far as bytes go, how many are asked for.
        self._count = first_count
        self._clock = clock
        self._pause = pause
        self._prepare = prepare
        self._more_is_waiting = False
        self._asked_at: float | None = None
        self._asked_for = 0
        self._arrived: list[Delivery] = []

    @property
    def waiting(self) -> bool:
        """Whether anything was asked for, or has arrived, that nobody has begun yet."""
        return bool(self._arrived) or self._asked_at is not None

    def ask_ahead(self) -> None:
        """Ask for the next batch where the last one was full, so that it is there when the loop comes to it.

        Only just before a commit: nobody is to hold for long what others could be working on.
        """
        if not self._more_is_waiting:
            return
        self._more_is_waiting, self._asked_at = False, self._clock()
        try:
            self._asked_for = self._at_once
            self._stream.read_ahead(self._asked_for)
        except Outage as outage:
            self._asked_at, self._unseen.read = None, True
            log.debug("not read ahead", reason=outage.reason)

    def arrive(self) -> None:
        """Take in hand, and prepare, what was asked for; where it can't be had it arrived unseen."""
        if self._asked_at is None:
            return
        asked_at, self._asked_at = self._asked_at, None
        try:
            self._arrived = self._stream.arrived()
        except Outage as outage:
            self._unseen.read = True
            log.debug("what was read ahead has not arrived", reason=outage.reason)
            return
        # Their leases run since then.
        self._arrived = self._in_hand(self._arrived, since=asked_at)
        self._prepare(self._arrived)

    def take(self, block_s: float) -> list[Delivery]:
        """Return what has arrived, else what is new, waiting so long for the first. Raises Outage."""
        if self._arrived:
            found, asked_for = self.arrived(), self._asked_for
        else:
            asked_for = self._at_once
            found = self.take_some(asked_for, block_s)
        self._more_is_waiting = len(found) == asked_for
        return found

    def take_some(self, count: int, block_s: float) -> list[Delivery]:
        """Return up to `count` that are new, waiting so long for the first. Raises Outage.

        Where the server does not wait, nothing is asked again at once.
        """
        asked_at = self._clock()
        try:
            found = self._in_hand(self._stream.read(count, int(max(0.0, block_s) * 1000)))
        except Outage:
            # The server may have handed out entries whose names never arrived here.
            self._unseen.read = True
            raise
        not_waited_s = block_s - (self._clock() - asked_at)
        if not found and not_waited_s > 0:
            self._pause(min(not_waited_s, LONGEST_PAUSE_S))
        return found

    def arrived(self) -> list[Delivery]:
        """Return, and forget, what has arrived."""
        found, self._arrived = self._arrived, []
        return found

    @property
    def _at_once(self) -> int:
        return min(self._count, self._pace.at_once)

    def _in_hand(self, found: Sequence[Delivery], *, since: float | None = None) -> list[Delivery]:
        sizes = (size_of(each.fields) for each in found)
        self._count = next_count(self._count, sizes, most=self._pace.most, most_bytes=self._batch_bytes)
        return self._hold(found, since=since)
