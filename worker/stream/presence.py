"""What each replica tells of itself, for the pages of all."""

from collections.abc import Iterable
from contextlib import suppress

import msgspec

from worker.domain.errors import AccessDenied, OutOfMemory
from worker.domain.fleets import ReplicaNote
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages
from worker.stream.names import RedisNames

# A replica that was killed is remembered for so long; one that has left is no consumer any more.
KEPT_S = 3600
# Many replicas may have come and gone; a page has no use for more.
MOST_READ = 100


class Presence:
    """A note for each replica, under a key of its own, which goes by itself. Raises Outage."""

    def __init__(self, link: RedisLink, names: RedisNames) -> None:
        self._link = link
        self._names = names

    def tell(self, note: ReplicaNote) -> None:
        """Say how this replica is now."""
        key = self._names.presence(self._names.consumer)
        # Where there is no room orders are more important.
        with suppress(OutOfMemory), outages():
            self._link.call("SET", key, msgspec.json.encode(note), "PX", KEPT_S * 1000)

    def read(self, consumers: Iterable[str]) -> dict[str, ReplicaNote]:
        """Return what those among the first hundred have said that have said anything."""
        found = {}
        # Whoever may not read them, as an operator of the version before, sees the rest all the same.
        with suppress(AccessDenied), outages():
            for consumer in list(consumers)[:MOST_READ]:
                said = self._link.call("GET", self._names.presence(consumer))
                # A replica of another version may say something else.
                with suppress(msgspec.DecodeError):
                    found[consumer] = msgspec.json.decode(said or b"", type=ReplicaNote)
        return found
