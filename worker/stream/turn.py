"""What one replica of the fleet does at a time: a turn, and rounds of work that are done in turn."""

from worker.domain.errors import OutOfMemory
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages

# Somebody's turn may end between two steps.
TRIES = 3
# Of a round, who began it: longer than any lasts.
REMEMBERED_MS = 86_400_000


class Turn:
    """Every step is repeatable. Raises Outage.

    Who was not heard of for a lease has the turn no more, and another one may.

    Where Redis takes nothing more it is everyone's: nobody can note whose it is, and what makes room must not
    wait for that.
    """

    def __init__(self, link: RedisLink, key: str, consumer: str, *, lease_ms: int) -> None:
        self._link = link
        self._key = key
        self._consumer = consumer
        self._lease_ms = lease_ms

    def take(self, *, lasting_s: float | None = None) -> bool:
        """Become the one whose turn it is, or stay it; False where it is another replica's.

        It lasts for a lease, unless said otherwise. Who wants it for less than it is another's still does not
        wait for that.
        """
        lease_ms = self._lease_ms if lasting_s is None else round(lasting_s * 1000)
        try:
            with outages():
                return self._take(max(1, lease_ms))
        except OutOfMemory:
            return True

    def end(self) -> None:
        """Let others have it."""
        with outages():
            self._link.call("DEL", self._key)

    def _take(self, lease_ms: int) -> bool:
        for _ in range(TRIES):
            if self._link.call("SET", self._key, self._consumer, "NX", "PX", lease_ms) is not None:
                return True
            whose, left_ms = self._link.call_all([["GET", self._key], ["PTTL", self._key]])
            if whose == self._consumer.encode():
                self._link.call("PEXPIRE", self._key, lease_ms)
                return True
            if 0 <= int(left_ms) <= lease_ms:
                return False
            # The clock of the server was set back, or another server's is behind, and it would last for as
            # long; somebody who has less to do took it for longer; or whatever moved the keys has forgotten
            # that it ends.
            self._link.call("DEL", self._key)
        return False


class Rounds:
    """Work of one replica for its fleet: how often it was begun, which round ended last, and what that said.

    Every step is repeatable but `begin`, which counts. Raises Outage.
    """

    def __init__(self, link: RedisLink, turn: Turn, key: str, consumer: str, *, says: str) -> None:
        self._link = link
        self._key = key
        self._consumer = consumer
        self._says = says
        self.take_turn, self.end_turn = turn.take, turn.end

    def begun(self) -> int:
        """Return how many rounds have begun."""
        with outages():
            return int(self._link.call("HGET", self._key, "begun") or 0)

    def begin(self) -> int:
        """Return the number of a round that begins now."""
        with outages():
            number = int(self._link.call("HINCRBY", self._key, "begun", 1))
            # Should Redis forget it, another will have its number.
            self._link.call("SET", self._name(number), self._consumer, "PX", REMEMBERED_MS)
        return number

    def ended(self) -> tuple[int, int] | None:
        """Return the number of the round that ended last, and what it said; None where none has ended."""
        with outages():
            number, said = self._link.call_all(["HGET", self._key, each] for each in ("done", self._says))
        return None if number is None or said is None else (int(number), int(said))

    def end(self, number: int, said: int) -> bool:
        """Note that a round has ended; False where Redis has forgotten that it began."""
        with outages():
            if self._link.call("GET", self._name(number)) != self._consumer.encode():
                return False
            # Others that began later may have ended before.
            if number > int(self._link.call("HGET", self._key, "done") or 0):
                self._link.call("HSET", self._key, "done", number, self._says, said)
        return True

    def _name(self, number: int) -> str:
        return f"{self._key}:{number}"
