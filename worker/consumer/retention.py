"""Keeps the streams from growing for ever, and finds what others trimmed too early."""

import structlog

from worker.consumer.ports import ClosedLetters, Orders
from worker.domain.errors import OutOfMemory
from worker.domain.ports import Monotonic, Turn
from worker.domain.retention import LettersGone

log = structlog.get_logger(__name__)

EVERY_S = 10.0
# So it may be anybody's whose next round is due then.
TURN_S = 8.0

# A consumer that lives asks at least once per read, which blocks for a minute at most; in an outage it may be
# silent for longer. Removing one that comes back costs nothing, since it holds nothing: Redis makes it anew.
DEAD_AFTER_LEASES = 10
DEAD_AFTER_AT_LEAST_S = 600


class Retention:
    """One replica does it at a time, whoever comes first when it is due."""

    def __init__(
        self,
        stream: Orders,
        letters: ClosedLetters,
        turn: Turn,
        *,
        orders_keep_s: int,
        results_maxlen: int,
        results_keep_s: int,
        letters_keep_s: int,
        lease_ms: int,
        clock: Monotonic,
    ) -> None:
        self._stream = stream
        self._letters = letters
        self._turn = turn
        self._keep_ms = orders_keep_s * 1000
        self._most_results = results_maxlen
        self._results_keep_ms = results_keep_s * 1000
        self._letters_keep_ms = max(letters_keep_s, results_keep_s) * 1000 if letters_keep_s else 0
        self._dead_after_ms = max(DEAD_AFTER_LEASES * lease_ms, DEAD_AFTER_AT_LEAST_S * 1000)
        self._clock = clock
        self._due = clock()
        self._last_turn: float | None = None

    @property
    def age_s(self) -> float | None:
        """Seconds since a round of ours came to its end; None before the first."""
        return None if self._last_turn is None else self._clock() - self._last_turn

    def tidy_up(self, *, trim: bool = True) -> bool:
        """Do a bounded round of work where it is due and our turn; return whether the next is due at once.

        Nothing is let go unless `trim`. Raises Outage.
        """
        if self._clock() < self._due:
            return False
        # Before it is tried: what fails for good (a right that was taken away) must not keep the loop from
        # its orders.
        self._due = self._clock() + EVERY_S
        if not self._turn.take():
            if self._stream.lost_by_reads:
                self._report_lost()
            return False
        try:
            self._report_lost()
        except OutOfMemory:
            # It has to be noted what was lost, and what is let go makes room for that.
            if trim:
                self._trim()
            raise
        more = trim and self._trim()
        self._remove_dead()
        self._last_turn = self._clock()
        if more or not trim:
            # It is more than one can do, or somebody else may.
            self._turn.end()
        return more

    def _report_lost(self) -> None:
        lost = self._stream.lost_unread()
        if lost is not None and lost.new:
            log.warning(
                "orders were trimmed before they were read, and are lost",
                new=lost.new,
                total=lost.total,
                to_do="producers must not trim below what the group has read: let them raise MAXLEN, or add "
                "without it and leave trimming to WORKER_ORDERS_KEEP_S",
            )

    def _trim(self) -> bool:
        done = self._stream.retain(
            keep_ms=self._keep_ms, most_results=self._most_results, results_keep_ms=self._results_keep_ms
        )
        closed = self._letters.let_go(self._letters_keep_ms) if self._letters_keep_ms else LettersGone()
        more = done.more or closed.more
        if more:
            self._due = self._clock()
        if done.orders or done.marks or done.results or closed.letters:
            log.info(
                "let go",
                orders=done.orders, marks=done.marks, results=done.results, letters=closed.letters,
            )  # fmt: skip
        return more

    def _remove_dead(self) -> None:
        removed = self._stream.remove_dead(self._dead_after_ms)
        if removed:
            log.info("removed dead consumers", consumers=removed)
