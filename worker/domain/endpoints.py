"""The place where a server is found, which every connection of a process to it shares."""

import math
import time
from collections.abc import Callable
from threading import Lock

from worker.domain.credentials import Credentials, Server


class Endpoint:
    """A URL that is read anew for each connection, and how often this place was left.

    A connection that was made before the place was left for the last time is not used again: a name may lead
    to another server by now, while connections to the one that was there live on, and take no writes for
    ever. It is left by itself before any connection is older than `renew_after_s`.
    """

    def __init__(
        self,
        url: Callable[[], str],
        *,
        credentials: Credentials | None = None,
        renew_after_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.renew_after_s = renew_after_s
        self._url = url
        self._credentials = credentials
        self._clock = clock
        self._lock = Lock()
        self._departures = 0
        self._left_at = clock()

    @classmethod
    def fixed(cls, url: str) -> "Endpoint":
        """Return the place of a URL that never changes."""
        return cls(lambda: url)

    @property
    def departures(self) -> int:
        """How often it was left: what a connection remembers of its beginning."""
        if self._clock() - self._left_at >= self.renew_after_s:
            self.leave(self._departures)
        return self._departures

    def url(self) -> str:
        """Return the URL as it is now, password included."""
        return self._url()

    def login(self, server: Server) -> tuple[str, str] | None:
        """Return user and password for a new connection, None where the URL alone has them. Raises Outage."""
        return None if self._credentials is None else self._credentials(server)

    def term(self) -> Callable[[], bool]:
        """Return what says whether a connection that is made now has come of age."""
        ends_at = self._clock() + self.renew_after_s
        return lambda: self._clock() >= ends_at

    def leave(self, since: int | None = None) -> None:
        """Have every connection made anew before it is used again; those at work finish what they do.

        `since`: the departures when the connection that gives the reason was made or taken. Where others have
        left since, that was enough.
        """
        with self._lock:
            if since is None or since == self._departures:
                # In this order: whoever sees the new count must not find that its time is over.
                self._left_at = self._clock()
                self._departures += 1
