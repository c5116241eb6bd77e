"""The book of rows that PostgreSQL has lost though their results were published.

It is kept for the whole fleet, and for people.
"""

from collections.abc import Sequence

from worker.domain.deliveries import entry_milliseconds
from worker.domain.evidence import LostRow
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages, text
from worker.stream.names import RedisNames
from worker.stream.turn import Rounds, Turn

PAGE = 500
# Some ten megabytes. Whoever has lost more needs no longer list.
MOST_NOTED = 100_000


class LostRowsBook:
    """Every step is repeatable. Raises Outage.

    `rounds` tells what looks there were; each says from which time on it looked.
    """

    def __init__(self, link: RedisLink, names: RedisNames, *, lease_ms: int) -> None:
        self._link = link
        self._names = names
        turn = Turn(link, names.look, names.consumer, lease_ms=lease_ms)
        self.rounds = Rounds(link, turn, names.looks, names.consumer, says="from")

    def end(self, look: int, from_ms: int) -> None:
        """Note that a look has ended, which began with what was published at a time."""
        self.rounds.end(look, from_ms)
        with outages():
            # Accepted were those that a look could find.
            self._link.call("ZREMRANGEBYSCORE", self._names.accepted_rows, "-inf", f"({from_ms}")

    def note(self, lost: Sequence[LostRow]) -> int:
        """Note lost rows that nobody has accepted; return how many are new. Beyond 100,000 none is noted."""
        names = self._names
        with outages():
            accepted = self._link.call_all(["ZSCORE", names.accepted_rows, _name(each)] for each in lost)
            told = [each for each, score in zip(lost, accepted, strict=True) if score is None]
            if not told or int(self._link.call("ZCARD", names.lost_rows)) >= MOST_NOTED:
                return 0
            scored = ((entry_milliseconds(each.result_id), _name(each)) for each in told)
            parts = [part for pair in scored for part in pair]
            return int(self._link.call("ZADD", names.lost_rows, "NX", *parts))

    def page(self, first: int) -> list[tuple[str, str]]:
        """Return entries and order ids of what is noted, from a place on; none where there are no more."""
        with outages():
            members = self._link.call("ZRANGE", self._names.lost_rows, first, first + PAGE - 1)
        named = (text(each).partition(" ") for each in members)
        return [(entry_id, order_id) for entry_id, _, order_id in named]

    def take_back(self, mended: Sequence[tuple[str, str]]) -> None:
        """Take back what is noted: their rows are there again."""
        with outages():
            self._link.call("ZREM", self._names.lost_rows, *(f"{entry} {order}" for entry, order in mended))


def _name(lost: LostRow) -> str:
    return f"{lost.entry_id} {lost.order_id}"
