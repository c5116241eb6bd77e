"""What the last hour looked like, as this replica has seen it since it began."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock

from msgspec import Struct

from worker.domain.database_state import DatabaseState
from worker.domain.stream_state import StreamState

SPAN_S = 3600
STEP_S = 30
STEPS = SPAN_S // STEP_S


class Moment(Struct):
    """Half a minute: what was published within it, and the worst that was seen within it; None: not known."""

    step: int
    published: int | None = None
    lag: int | None = None
    median_ms: float | None = None
    p95_ms: float | None = None


class History:
    """An hour, half a minute after the other. What was not seen is not made up: such moments are missing."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = Lock()
        self._moments: deque[Moment] = deque(maxlen=STEPS)
        self._published: int | None = None

    def note_streams(self, state: StreamState) -> None:
        """Take in what Redis told now."""
        with self._lock:
            moment = self._now()
            before, self._published = self._published, state.published
            if before is not None and state.published >= before:
                moment.published = (moment.published or 0) + state.published - before
            if state.lag is not None:
                moment.lag = max(moment.lag or 0, state.lag)

    def note_tables(self, state: DatabaseState) -> None:
        """Take in what PostgreSQL told now."""
        took = None if state.tables is None else state.tables.took
        if took is None:
            return
        with self._lock:
            moment = self._now()
            moment.median_ms = max(moment.median_ms or 0, took.median_ms)
            moment.p95_ms = max(moment.p95_ms or 0, took.p95_ms)

    def moments(self) -> Sequence[Moment | None]:
        """Return those of the last hour, the oldest first; None where nothing was seen."""
        with self._lock:
            known = {each.step: each for each in self._moments}
            last = self._step()
        return [known.get(step) for step in range(last - STEPS + 1, last + 1)]

    def _step(self) -> int:
        return int(self._clock() // STEP_S)

    def _now(self) -> Moment:
        step = self._step()
        # A clock that was set back goes on with the moment there was.
        if not self._moments or self._moments[-1].step < step:
            self._moments.append(Moment(step))
        return self._moments[-1]
