"""How long each station takes, and what becomes of deliveries: what the loop notes, once per batch."""

from collections import Counter
from collections.abc import Mapping, Sequence

from worker.consumer.outages import Outages
from worker.domain.deliveries import Dead, Outcome, Settled
from worker.domain.measured import Counted, Histogram
from worker.domain.orders import DeadReason
from worker.domain.ports import Monotonic, WallClock

OUTCOMES = ("filled", "rejected", "error", "duplicate", "answered_again", "retry", "left")
REASONS = frozenset(DeadReason)
# A letter of another version may name another reason; a label must not grow with what others write.
OTHER = "other"

# Measured on two shared cores: an order on its way 3 to 40 ms, a commit and a settle of 1 to 500 orders 0.5
# to 20 ms, a paper execution 2 to 10 us. Above that are the deadlines that the settings allow.
_MS = 1e-3
STATION_S = (*(n * _MS for n in (0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)), 1.0, 2.5, 5.0, 10.0)
ENTRY_TO_RESULT_S = (
    *(n * _MS for n in (2.5, 5, 10, 25, 50, 100, 250, 500)),
    1.0,
    5.0,
    30.0,
    60.0,
    300.0,
    3600.0,
)
EXECUTE_S = (5e-6, 1e-5, 2.5e-5, 1e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_ORDERS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000)


class Measures:
    """What the loop measures.

    It is written by the loop alone, a few times for each batch however many orders that holds, and read by
    any thread. A transaction or a settle that did not work is not counted: it is done again. An execution is,
    whatever came of it.
    """

    def __init__(self, clock: Monotonic, now: WallClock) -> None:
        self.clock = clock
        self.outages = Outages(clock)
        self._now = now
        # How long the executor took for each order of the group that is being worked through.
        self.executions: list[float] = []
        self._deliveries = Counter[tuple[str, ...]]()
        self._histograms = {
            "entry_to_result": Histogram(ENTRY_TO_RESULT_S),
            "commit": Histogram(STATION_S),
            "settle": Histogram(STATION_S),
            "execute": Histogram(EXECUTE_S),
            "batch": Histogram(BATCH_ORDERS),
        }

    @property
    def histograms(self) -> Mapping[str, Counted]:
        """Seconds from entry to result, of commits, settles and executions; and the orders of a batch."""
        return {name: each.now for name, each in self._histograms.items()}

    @property
    def deliveries(self) -> Mapping[tuple[str, ...], int]:
        """How many deliveries ended in each outcome, and in a dead letter for each reason.

        All that there can be are named, so that the first one is seen as one more.
        """
        names = [(each, "") for each in OUTCOMES] + [("dead", each) for each in (*sorted(REASONS), OTHER)]
        return {name: self._deliveries[name] for name in names}

    def end_group(self) -> None:
        """Count what was executed since the last group ended."""
        if self.executions:
            self._histograms["execute"].add(self.executions)
            self.executions = []

    def commit(self, seconds: float) -> None:
        """Count a transaction that has recorded rows."""
        self._histograms["commit"].add([seconds])

    def settle(self, outcomes: Sequence[Outcome], kinds: Mapping[str, int], seconds: float) -> None:
        """Count a batch that is settled: its outcomes, also by kind, and how long the settle took."""
        self._histograms["settle"].add([seconds])
        self._histograms["batch"].add([len(outcomes)])
        self._histograms["entry_to_result"].add(self._ages_s(outcomes))
        for name, count in kinds.items():
            if name != "dead":
                self._deliveries[name, ""] += count
        if "dead" in kinds:
            for each in outcomes:
                if isinstance(each, Dead):
                    self._deliveries["dead", str(each.reason) if each.reason in REASONS else OTHER] += 1

    def _ages_s(self, outcomes: Sequence[Outcome]) -> list[float]:
        """Return how long ago the entries came whose results are out now, in seconds."""
        # Once per order, so as little as possible: with a call of entry_milliseconds it would take twice as
        # long.
        now_s = self._now().timestamp()
        ids = [each.delivery.entry_id for each in outcomes if type(each) is Settled]
        ages = [now_s - int(each.partition("-")[0]) / 1000 for each in ids]
        # Two clocks tell: that of Redis, and that of this machine.
        return ages if min(ages, default=0.0) >= 0 else [max(0.0, each) for each in ages]
