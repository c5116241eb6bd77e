"""All that is known of both servers and of the fleet at one moment; the numbers are not of one instant."""

from collections.abc import Mapping

from msgspec import Struct

from worker.domain.database_state import DatabaseState, Outcomes
from worker.domain.fleets import ReplicaNote
from worker.domain.stream_state import ConsumerState, StreamState, Survey


class Away(Struct, frozen=True):
    """A server that can't be used: it does not answer, or `answers` and can't do as asked, or refuses us.

    Or it is `misconfigured`: its URL is wrong.
    """

    error: str
    answers: bool = False
    refused: bool = False
    misconfigured: bool = False


class Consumer(ConsumerState, frozen=True):
    """One consumer of the group, whether it counts as gone, and what it said of itself last, if anything."""

    gone: bool
    said: ReplicaNote | None = None

    @classmethod
    def of(
        cls, state: ConsumerState, said: ReplicaNote | None = None, *, lease_ms: int, block_ms: int
    ) -> "Consumer":
        """Return a consumer as it counts where replicas lease and wait for so long."""
        gone = state.is_gone(lease_ms=lease_ms, block_ms=block_ms)
        return cls(state.name, state.pending, state.idle_ms, gone, said)


class Letters(Struct, frozen=True):
    """How many of the newest dead letters are in which state, by reason, and whether these are `all` of them.

    The states are open, replayed and discarded, and whatever else somebody has called one. Letters of other
    fleets on the same stream are in none of them: `of_others` is how many of those were looked at.
    """

    looked_at: int
    all: bool
    by_state: Mapping[str, Mapping[str, int]]
    of_others: int = 0

    @property
    def open(self) -> Mapping[str, int]:
        """How many are open, by reason."""
        return self.by_state["open"]


class RedisSnapshot(Struct, frozen=True):
    """What Redis told, and where it is."""

    ping_ms: float
    state: StreamState
    survey: Survey
    consumers: tuple[Consumer, ...]
    letters: Letters
    address: str = ""

    @property
    def alive(self) -> int:
        """How many replicas were heard of lately."""
        return sum(each.is_replica and not each.gone for each in self.consumers)

    @property
    def gone(self) -> int:
        """How many replicas were not."""
        return sum(each.is_replica and each.gone for each in self.consumers)


class DatabaseSnapshot(Struct, frozen=True):
    """What PostgreSQL told, and where it is.

    Without tables there are no outcomes, and nobody knows how many streams are one source.
    """

    ping_ms: float
    state: DatabaseState
    outcomes: Outcomes | None = None
    streams_of_source: int = 1
    address: str = ""


class Rules(Struct, frozen=True):
    """What the settings say of how all should be."""

    group: str
    stuck_after_s: float
    orders_keep_s: int
    results_maxlen: int
    allow_eviction: bool
    allow_volatile: bool


class Snapshot(Struct, frozen=True):
    """What each server told, or why it can't be used."""

    rules: Rules
    redis: RedisSnapshot | Away
    database: DatabaseSnapshot | Away

    @property
    def streams(self) -> RedisSnapshot | None:
        """What Redis told, None where it can't be used."""
        return None if isinstance(self.redis, Away) else self.redis

    @property
    def tables(self) -> DatabaseSnapshot | None:
        """What PostgreSQL told, None where it can't be used."""
        return None if isinstance(self.database, Away) else self.database
