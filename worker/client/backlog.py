"""How many orders wait for the worker, looked at now and then."""

import math
import time
from collections.abc import Callable, Generator

import redis

from worker.client.link import Ask, Reply, Steps, Wait, asked, named

LOOK_EVERY_S = 0.25


class Backlog:
    """Counts the orders that the worker's group has not settled: pending ones, and those it has not read.

    The length of the stream would not tell: the worker keeps settled entries for a day. Redis is asked four
    times a second at the most, however many orders are added; between two looks what this producer adds
    is counted on top, so only what others add meanwhile can exceed the limit.
    """

    def __init__(
        self, stream: str, group: str, most: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._group = group
        self.most = most
        self._clock = clock
        self._looked_at = -math.inf
        self.waiting = 0

    def room(self, wait_s: float) -> Steps[bool]:
        """Return whether there is room for one more, having waited for it for so long at the most."""
        deadline = self._clock() + wait_s
        while True:
            if self._clock() - self._looked_at >= LOOK_EVERY_S:
                before, self._looked_at = self._looked_at, self._clock()
                try:
                    self.waiting = yield from self._count()
                except BaseException:
                    # Nothing was learned: the next order looks again.
                    self._looked_at = before
                    raise
            if self.waiting < self.most:
                self.waiting += 1
                return True
            left = deadline - self._clock()
            if left <= 0:
                return False
            yield Wait(min(left, LOOK_EVERY_S))

    def _count(self) -> Generator[Ask, Reply, int]:
        (groups,) = yield Ask((("XINFO", "GROUPS", self._stream),))
        if isinstance(groups, redis.ResponseError):
            if "no such key" in str(groups):
                return 0
            raise groups
        for group in map(named, groups):
            if group["name"] == self._group.encode():
                lag = group.get("lag")
                unread = lag if lag is not None and lag >= 0 else (yield from self._unread(group))
                return int(group["pending"]) + int(unread)
        (length,) = yield from asked(("XLEN", self._stream))
        return int(length)

    def _unread(self, group: dict[str, Reply]) -> Generator[Ask, Reply, int]:
        # Redis before 7.0 knows no lag, and later ones none once an entry in between was deleted.
        after = f"({group['last-delivered-id'].decode()}"
        (entries,) = yield from asked(("XRANGE", self._stream, after, "+", "COUNT", self.most + 1))
        return len(entries)
