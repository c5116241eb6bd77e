"""What Redis tells of the streams of one deployment, as pages and people are shown it."""

from msgspec import Struct

# Holds what a repair has made pending again, until a replica claims it.
REPAIR_CONSUMER = "repair"


class ConsumerState(Struct, frozen=True):
    """One consumer of the group: how much it holds, and how long ago it last asked for anything."""

    name: str
    pending: int
    idle_ms: int

    @property
    def is_replica(self) -> bool:
        """Whether it is a worker, or was: what a repair has made pending is held by nobody who works."""
        return self.name != REPAIR_CONSUMER

    def is_gone(self, *, lease_ms: int, block_ms: int) -> bool:
        """Whether it was silent for longer than any at work: its process has ended, hangs, or is cut off.

        At work it asks at every read, and every quarter of a lease, when it renews and scans.
        """
        return self.idle_ms > 2 * max(lease_ms, block_ms)


class StreamState(Struct, frozen=True):
    """The streams of one deployment.

    `published` is how many results there ever were, before 7.0 how many there are.
    `lag` is None where the server can't tell (before 7.0, after deletions, or where it counts below zero),
    `lost_unread` before 7.0, `eviction`, the policy by which it may evict orders, and `volatile`, the setting
    by which it may lose them, where it may not be asked.

    `oldest_waiting_age_s` is None where nothing waits that nobody has taken.
    """

    version: str
    eviction: str | None
    volatile: str | None
    group_exists: bool
    orders: int
    lag: int | None
    lost_unread: int | None
    pending: int
    oldest_pending_age_s: float | None
    set_aside: int
    a_set_aside: str | None
    lost_rows: int
    results: int
    published: int
    dead_letters: int
    consumers: tuple[ConsumerState, ...]
    # Of replicas of the version before it is not told.
    oldest_waiting_age_s: float | None = None


class Waiting(Struct, frozen=True):
    """Entries that nobody has taken yet; at least so many where the number is not `exact`."""

    waiting: int = 0
    waiting_exact: bool = True
    oldest_waiting_age_s: float | None = None


class OldestPending(Struct, frozen=True):
    """The first pending entries by id: how many of them nobody has touched for several leases."""

    entry_ids: tuple[str, ...] = ()
    stuck: int = 0
    longest_untouched_s: float | None = None


class Kept(Struct, frozen=True):
    """What retention has left.

    The horizon is the age below which settled marks are kept, None before any has gone. `results_a_day` is
    how many results were published a day since the first that is there, on the average; None where too little
    is there to tell.
    """

    first_order_age_s: float | None
    settled_marks: int
    horizon_age_s: float | None
    trimmed_pending: int
    first_result_age_s: float | None = None
    results_a_day: int | None = None


class LastRepair(Struct, frozen=True):
    """The last repair that came to its end, in its own words; empty where it did not say."""

    at: str
    by: str
    how: str
    looked_at: str
    published: str
    buried: str
    made_pending: str
    left_alone: str
    skipped: str


class Survey(Struct, frozen=True):
    """The streams of one deployment, looked at for longer. Not of one instant.

    `refuses_writes` is what Redis says of a write, None where it takes them, or may not be asked.
    """

    waiting: Waiting
    oldest: OldestPending
    lost_unnoticed: int
    unknown_results: int
    kept: Kept
    repairs_running: int
    last_repair: LastRepair | None
    refuses_writes: str | None = None
