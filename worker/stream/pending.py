"""What is pending for the group, read in pages, and made claimable without being taken from anybody."""

from collections.abc import Sequence

from msgspec import Struct

from worker.domain.deliveries import following
from worker.domain.stream_state import ConsumerState
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import GroupLost, outages, text
from worker.stream.names import RedisNames
from worker.stream.scripts import source
from worker.stream.xinfo import StreamInformation


class PendingEntry(Struct, frozen=True):
    """A pending entry: who holds it (a name may be any bytes), how long untouched, how often delivered.

    Nobody holds what its consumer has given back by XNACK (Redis 8.8); then `idle_ms` is -1.
    """

    entry_id: str
    consumer: bytes
    idle_ms: int
    deliveries: int

    @property
    def given_back(self) -> bool:
        """Whether nobody holds it, and it is not known since when."""
        return self.idle_ms < 0

    def is_claimable(self, lease_ms: int) -> bool:
        """Whether the next replica that looks takes it."""
        return self.given_back or self.idle_ms >= lease_ms


class Readied(Struct, frozen=True):
    """What became of entries that were to be made claimable."""

    made: int = 0
    already: int = 0
    left: int = 0
    trimmed: int = 0

    def plus(self, other: "Readied") -> "Readied":
        """Return the sums."""
        return Readied(
            self.made + other.made,
            self.already + other.already,
            self.left + other.left,
            self.trimmed + other.trimmed,
        )


class PendingEntries:
    """The pending list of one group. Raises Outage; without the stream or the group nothing is pending."""

    def __init__(self, link: RedisLink, names: RedisNames, *, lease_ms: int) -> None:
        self._link = link
        self._names = names
        self._lease_ms = lease_ms
        self._information = StreamInformation(link, names)
        self._make_claimable = link.script(source("make_claimable"))

    def consumers(self) -> list[ConsumerState]:
        """Return the consumers of the group, those that hold most first."""
        with outages():
            found = self._information.consumers()
        return sorted(found, key=lambda each: (-each.pending, each.name))

    def page(
        self, after: str | None = None, *, until: str, consumer: bytes | None, idle_ms: int, count: int
    ) -> list[PendingEntry]:
        """Return the first `count` entries after one id, up to another, idle for so long; oldest first."""
        names = self._names
        first = "-" if after is None else following(after)
        if first is None:
            return []
        command = ("XPENDING", names.orders, names.group, "IDLE", idle_ms, first, until, count)
        try:
            with outages():
                reply = self._link.call(*command, *(() if consumer is None else (consumer,)))
        except GroupLost:
            return []
        return [_entry(*each) for each in reply]

    def find(self, entry_ids: Sequence[str]) -> list[PendingEntry | None]:
        """Return the pending entries of these ids in the same places, None for one that is not pending."""
        names = self._names
        commands = (["XPENDING", names.orders, names.group, each, each, "1"] for each in entry_ids)
        try:
            with outages():
                replies = self._link.call_all(commands)
        except GroupLost:
            return [None] * len(entry_ids)
        return [_entry(*reply[0]) if reply else None for reply in replies]

    def make_claimable(self, entries: Sequence[PendingEntry]) -> Readied:
        """Let any replica's next scan take these, unless they have been touched since they were listed.

        One atomic step. Who holds an entry and how often it was delivered does not change. One that is
        trimmed stays as it is: its lease decides.
        """
        names = self._names
        listed = (part for each in entries for part in (each.entry_id, each.consumer, each.idle_ms))
        try:
            with outages():
                reply = self._make_claimable([names.orders], [names.group, self._lease_ms, *listed])
                # Nobody is to wait for the turn of whoever has found nothing.
                self._link.call("DEL", names.looking)
        except GroupLost:
            return Readied(left=len(entries))
        return Readied(*map(int, reply))


def _entry(entry_id: bytes, consumer: bytes, idle_ms: int, deliveries: int) -> PendingEntry:
    return PendingEntry(text(entry_id), consumer, int(idle_ms), int(deliveries))
