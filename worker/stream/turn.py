"""A turn that one replica of the fleet has at a time."""

from worker.domain.errors import OutOfMemory
from worker.stream.connection import RedisLink, outages


class Turn:
    """Every step is repeatable. Raises Outage. Who was not heard of for a lease has it no more, and another one may.

    Where Redis takes nothing more it is everyone's: nobody can note whose it is, and what makes room must not wait for that.
    """

    def __init__(self, link: RedisLink, key: str, consumer: str, *, lease_ms: int) -> None:
        self._link = link
        self._key = key
        self._consumer = consumer
        self._lease_ms = lease_ms

    def take(self) -> bool:
        """Become the one whose turn it is, or stay it; False where it is another replica's."""
        try:
            with outages():
                taken = self._link.call("SET", self._key, self._consumer, "NX", "PX", self._lease_ms)
                if taken is None and self._link.call("GET", self._key) != self._consumer.encode():
                    return False
                self._link.call("PEXPIRE", self._key, self._lease_ms)
        except OutOfMemory:
            return True
        return True

    def end(self) -> None:
        """Let others have it."""
        with outages():
            self._link.call("DEL", self._key)
