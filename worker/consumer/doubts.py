"""What was to be settled here and counted as settled long ago: looked for, and given out where it is not there."""

from collections.abc import Sequence
from typing import Literal, Protocol

import structlog
from msgspec import Struct
from msgspec.structs import replace

from worker.domain.deliveries import Dead, Outcome, Settled, Settlement, entry_milliseconds

log = structlog.get_logger(__name__)

# How far the clock of a replica may be ahead of that of Redis.
CLOCKS_APART_MS = 60_000
AGAIN: dict[str, Literal["republish", "rebury"]] = {"publish": "republish", "bury": "rebury"}


class Evidence(Protocol):
    """What was published and buried."""

    def named(self, entry_ids: Sequence[str], *, from_ms: int) -> set[str]:
        """Return those entries that results or dead letters name which came since a unix time in milliseconds.

        With them come those that may have been named by a result that is trimmed by now.
        """


class Mending(Protocol):
    """What gives back to the streams."""

    def begin(self) -> None:
        """Announce a repair, before anything is looked at that it will rely on."""

    def restore(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Publish, bury or mark what is not settled as far as Redis knows, and in nobody's hands; return which were."""

    def end(self) -> None:
        """Take the announcement back."""


class Doubt(Struct, frozen=True):
    """A settlement that may have been made by others at any time since."""

    settlement: Settlement
    since_ms: int


class Doubts:
    """Tells apart whom a settle can't, its marks of that age being gone.

    A process that slept for very long finds what others have given out meanwhile; one that holds what Redis has lost,
    order and all, finds nothing.
    """

    def __init__(self, evidence: Evidence, mending: Mending) -> None:
        self._evidence = evidence
        self._mending = mending
        self._open: list[Doubt] = []

    def add(self, outcome: Outcome, settlement: Settlement) -> None:
        """Remember an outcome whose entry counted as settled long ago."""
        if settlement.action not in AGAIN:
            return
        match outcome:
            case Settled(record=record):
                # Nobody can have published the result of a row before it was written.
                since_ms = int(record.executed_at.timestamp() * 1000)
            case Dead(delivery=delivery):
                since_ms = entry_milliseconds(delivery.entry_id)
            case _:
                return
        self._open.append(Doubt(settlement, since_ms - CLOCKS_APART_MS))

    def settle(self) -> None:
        """Publish or bury what others have not. Raises Outage; then the doubts stay."""
        if not self._open:
            return
        self._mending.begin()
        ids = [doubt.settlement.entry_id for doubt in self._open]
        named = self._evidence.named(ids, from_ms=max(0, min(doubt.since_ms for doubt in self._open)))
        lost = [doubt.settlement for doubt in self._open if doubt.settlement.entry_id not in named]
        again = [replace(each, action=AGAIN[each.action]) for each in lost]
        for each, done in zip(again, self._mending.restore(again) if again else [], strict=True):
            log.warning(
                "Redis had lost what it knew of an entry",
                entry_id=each.entry_id,
                action=each.action,
                done=done,
            )
        self._mending.end()
        self._open.clear()
