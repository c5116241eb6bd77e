"""Gives back to the streams what they have lost: results, dead letters, marks, pending entries."""

from collections.abc import Mapping, Sequence

from worker.domain.deliveries import Restoration
from worker.domain.errors import Outage
from worker.domain.stream_state import REPAIR_CONSUMER
from worker.stream.clock import ServerClock
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import GroupLost, outages, text
from worker.stream.names import RedisNames
from worker.stream.orders import packed
from worker.stream.scripts import source
from worker.stream.unpublished import Unpublished

# A repair that was held up for longer has to begin anew: others may not know any more what it has done.
HEARD_OF_WITHIN_MS = 60_000


class Mending:
    """Every step is repeatable, and harmless beside others that do the same. Raises Outage."""

    def __init__(
        self,
        link: RedisLink,
        names: RedisNames,
        *,
        lease_ms: int,
        results_channel: str | None,
        unpublished: Unpublished | None = None,
        clock: ServerClock | None = None,
    ) -> None:
        self._link = link
        self._names = names
        self._lease_ms = lease_ms
        self._channel = results_channel or ""
        self._unpublished = unpublished or Unpublished()
        self._clock = clock or ServerClock(link)
        self._token = ""
        self._restore, self._repairing, self._readopt = (
            link.script(source(name)) for name in ("restore", "repairing", "readopt")
        )

    def begin(self) -> None:
        """Announce a repair, before anything is looked at that it will rely on."""
        self._token = self._names.consumer
        self._be_heard_of(begin=True)

    def go_on(self) -> None:
        """Announce that it is still at work; raises Outage where it was held up for too long."""
        if not self._be_heard_of(begin=False):
            raise _held_up()

    def end(self) -> None:
        """Take the announcement back."""
        with outages():
            self._link.call("ZREM", self._names.repairs, self._token)
        self._token = ""

    def restore(self, restorations: Sequence[Restoration]) -> list[bool]:
        """Publish, bury or mark what Redis does not know to be settled and nobody has in hand; ack nothing.

        Returns which were done. What may have been settled so long ago that its mark was dropped is left
        alone, but for what is to be given out `again`, which asks for a repair that was announced before the
        results were read.
        """
        names = self._names
        keys = [names.orders, names.results, names.dead_letters, names.settled, names.trimmed]
        keys += [names.settled_before, names.unknown, names.repairs, names.published_again]
        with outages():
            restored = self._restore(
                keys,
                [names.group, self._channel, self._token, self._clock.in_scripts(), packed(restorations)],
            )
        if restored is None:
            raise _held_up()
        done, unpublished, why = restored
        self._unpublished.note(unpublished, why, self._channel)
        return [bool(each) for each in done]

    def readopt(self, entry_ids: Sequence[str]) -> list[str]:
        """Make entries that nobody holds pending again, for any replica to claim at once.

        Returns those that were made pending.
        """
        names = self._names
        try:
            with outages():
                made = self._readopt(
                    [names.orders, names.trimmed], [names.group, REPAIR_CONSUMER, self._lease_ms, *entry_ids]
                )
                self._link.call("DEL", names.looking)
        except GroupLost:
            # It will be made anew at the beginning, so all that is there will be delivered.
            return []
        return [text(entry_id) for entry_id in made]

    def note(self, report: Mapping[str, str]) -> None:
        """Leave a note of the last repair, for people."""
        pairs = [part for pair in report.items() for part in pair]
        with outages():
            self._link.call("HSET", self._names.repaired, *pairs)

    def _be_heard_of(self, *, begin: bool) -> bool:
        names = self._names
        with outages():
            known = self._repairing(
                [names.repairs, names.published_again],
                [self._token, self._clock.in_scripts(), HEARD_OF_WITHIN_MS, int(begin)],
            )
        return bool(known)


def _held_up() -> Outage:
    return Outage("redis", "the repair was held up for over a minute and must begin anew: run it again")
