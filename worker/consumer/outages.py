"""Which server is being waited for, how often that was so, and for how long."""

from collections import Counter
from collections.abc import Mapping
from threading import Lock

from worker.domain.measured import ServerOutages
from worker.domain.ports import Monotonic

OTHER = "other"
# `worker`: whatever is handled ends in an error that nobody expected.
SERVERS = ("redis", "postgresql", "venue", "worker", OTHER)


class Outages:
    """Counts outages by server; one that goes on is counted up to the moment in which it is asked."""

    def __init__(self, clock: Monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._counts = Counter[str]()
        self._seconds = dict.fromkeys(SERVERS, 0.0)
        self._away: tuple[str, float] | None = None

    def meet(self, server: str) -> None:
        """Note that a server is being waited for, from now on or still."""
        known = server if server in SERVERS else OTHER
        with self._lock:
            if self._away is None or self._away[0] != known:
                self._end()
                self._away = (known, self._clock())
                self._counts[known] += 1

    def end(self) -> None:
        """Note that no server is being waited for."""
        with self._lock:
            self._end()

    def told(self) -> Mapping[str, ServerOutages]:
        """Return what is known of each server. No figure of seconds is ever less than it was before."""
        with self._lock:
            away, since = self._away or ("", 0.0)
            lasting = self._clock() - since
            return {
                server: ServerOutages(
                    self._counts[server],
                    self._seconds[server] + (lasting if server == away else 0.0),
                    server == away,
                )
                for server in SERVERS
            }

    def _end(self) -> None:
        if self._away is not None:
            server, since = self._away
            self._seconds[server] += self._clock() - since
            self._away = None
