"""The two ends of the flow: a producer that knows what it added, a reader that remembers all it read."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import repeat
from threading import Event, Thread
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.harness import Deployment

CHUNK = 20
PAUSE_S = 0.02


def impatient(url: str, timeout_s: float = 2.0) -> redis.Redis:
    """Return a client that repeats nothing by itself: a repeated XADD adds twice."""
    return redis.Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
    )


class Producer:
    """Adds chunks of entries, each in one transaction; if an answer is lost it looks whether they were added.

    Where it is given a growing list of ids, it adds its entries under these and waits for more of them.
    """

    def __init__(
        self,
        deployment: Deployment,
        entries: Sequence[dict[str, str]],
        under: Sequence[str] | None = None,
    ) -> None:
        # Longer than Redis is ever busy: what it has not heard by then it will not add later.
        self._client = impatient(deployment.servers.redis_url, timeout_s=20.0)
        self._stream = deployment.orders
        self._entries = entries
        self._under = under
        self._last = deployment.accepted[-1] if deployment.accepted else "0-0"
        self._in_doubt = False
        self.accepted: list[str] = []

    @property
    def done(self) -> bool:
        """Whether all of it is added."""
        return len(self.accepted) == len(self._entries)

    def submit(self, up_to: int) -> None:
        """Add what is due, one chunk at the most, if Redis lets it."""
        first = len(self.accepted)
        chunk = self._entries[first : min(first + CHUNK, up_to, len(self._entries))]
        if not chunk and not self._in_doubt:
            return
        try:
            added = self._added_unseen() if self._in_doubt else self._add(chunk, first)
        except (redis.RedisError, OSError):
            self._in_doubt = True
            return
        self._in_doubt = False
        if added:
            self.accepted += added
            self._last = added[-1]

    def _add(self, chunk: Sequence[dict[str, str]], first: int) -> list[str]:
        under: Iterable[str] = repeat("*")
        if self._under is not None:
            under = self._under[first : first + len(chunk)]
        with self._client.pipeline(transaction=True) as pipeline:
            for entry, entry_id in zip(chunk, under, strict=False):
                pipeline.xadd(self._stream, dict(entry), id=entry_id)  # type: ignore[arg-type]
            return [entry_id.decode() for entry_id in pipeline.execute()]

    def _added_unseen(self) -> list[str]:
        found: Any = self._client.xrange(self._stream, f"({self._last}")
        return [entry_id.decode() for entry_id, _ in found]


class Reader:
    """Reads order_results from its beginning, or after an id, beside everything.

    After a crash it goes on where it was.
    """

    def __init__(self, deployment: Deployment, after: str = "0-0") -> None:
        # A stopped or restarted server is asked again soon; the read itself blocks for less.
        self._client = impatient(deployment.servers.redis_url, timeout_s=1.0)
        self._stream = deployment.results
        self._last = after.encode()
        self._over = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self.ids: list[str] = []
        self.seen: Counter[str] = Counter()
        self.arrivals: list[float] = []

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def finish(self) -> None:
        """Read what is left, and read no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            leaving = self._over.is_set()
            try:
                reply: Any = self._client.xread({self._stream: self._last}, count=1000, block=100)
            except (redis.RedisError, OSError):
                time.sleep(PAUSE_S)
                continue
            entries = reply[0][1] if reply else []
            if entries:
                self.arrivals.append(time.monotonic())
                self._last = entries[-1][0]
                self.ids += [entry_id.decode() for entry_id, _ in entries]
                self.seen.update(fields[b"order_id"].decode() for _, fields in entries)
            elif leaving:
                return
