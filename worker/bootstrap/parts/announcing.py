"""How a replica tells the others of itself."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from worker import __version__
from worker.domain.fleets import ReplicaNote
from worker.domain.times import utc_text
from worker.ops import Vitals
from worker.stream import Presence

# A note is kept for much longer than that.
AGAIN_AFTER_S = 60.0


class Announcing:
    """Says how this replica is whenever that has changed, and once a minute. Raises Outage."""

    def __init__(
        self,
        presence: Presence,
        vitals: Vitals,
        *,
        executor: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._presence = presence
        self._vitals = vitals
        self._executor = executor
        self._clock = clock
        self._started_at = utc_text(datetime.now(UTC))
        self._told: ReplicaNote | None = None
        self._told_at = 0.0

    def tell(self) -> None:
        """Say it where that is due."""
        note = ReplicaNote(__version__, self._vitals.state, self._executor, self._started_at)
        if note != self._told or self._clock() - self._told_at >= AGAIN_AFTER_S:
            self._presence.tell(note)
            self._told, self._told_at = note, self._clock()
