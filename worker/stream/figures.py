"""What one replica has counted, for all of its fleet: so what it costs does not grow with them."""

import math
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from worker.domain.errors import OutOfMemory
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages
from worker.stream.names import RedisNames
from worker.stream.turn import Turn

# As old as pages may be, where nobody counts any more.
KEPT_ROUNDS = 3
KEPT_AT_LEAST_S = 10.0
# Where they are not to be counted at all, and somebody asks.
LONGEST_S = 86_400.0

_Counted = TypeVar("_Counted")


class Figures(Generic[_Counted]):
    """The figures of one server. Raises Outage where Redis does not answer, and what counting raises.

    `every_s` says how often they are to be counted now. What was counted last is `known`, whoever has counted
    it.
    """

    def __init__(
        self,
        link: RedisLink,
        names: RedisNames,
        server: str,
        kind: type[_Counted],
        count: Callable[[], _Counted],
        *,
        every_s: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._key = names.figures(server)
        self._turn = Turn(link, names.counting(server), names.consumer, lease_ms=1)
        self._kind = kind
        self._count = count
        self._every_s = every_s
        self._clock = clock
        self._note: bytes | None = None
        self._counted_at = -math.inf
        self.known: _Counted | None = None

    def look(self) -> bool:
        """Learn what another replica has counted since; return whether any of it was not known."""
        with outages():
            note = self._link.call("GET", self._key)
        if note is None or note == self._note:
            return False
        self._note = note
        try:
            _, counted = msgspec.json.decode(note, type=tuple[int, msgspec.Raw])
            self.known = msgspec.json.decode(counted, type=self._kind)
        except msgspec.DecodeError:
            # A replica of another version has counted something else.
            return False
        self._counted_at = self._clock()
        return True

    def read(self) -> _Counted:
        """Return what another replica has counted lately, or count where nobody has."""
        every_s = min(self._every_s(), LONGEST_S)
        if (not self.look() and self._is_due(every_s)) or self.known is None:
            self.known, self._counted_at = self._count(), self._clock()
            self._tell(self.known, every_s)
        return self.known

    def _is_due(self, every_s: float) -> bool:
        counted_s = self._clock() - self._counted_at
        nobody = counted_s >= max(KEPT_AT_LEAST_S, KEPT_ROUNDS * every_s)
        return nobody or (counted_s >= every_s and self._turn.take(lasting_s=every_s))

    def _tell(self, counted: _Counted, every_s: float) -> None:
        # Each is another one, though nothing has changed.
        note = msgspec.json.encode((time.time_ns(), counted))
        kept_s = max(KEPT_AT_LEAST_S, KEPT_ROUNDS * every_s)
        try:
            with outages():
                self._link.call("SET", self._key, note, "PX", round(kept_s * 1000))
        except OutOfMemory:
            # Then each counts for itself.
            return
        self._note = note
