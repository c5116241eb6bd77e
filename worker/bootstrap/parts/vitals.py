"""What pages may ask of the running loop."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from worker import wire
from worker.consumer import Drain, Stamps, Tally, Worker
from worker.domain.errors import Outage
from worker.stream import Unpublished


class Reading(Struct, frozen=True):
    """What counts while entries are read."""

    decoder: wire.Decoder
    stamps: Stamps


class ReplicaVitals:
    """What pages may know of a replica: that it waits for servers, and once it has begun, of its loop."""

    def __init__(self, drain: Drain, unpublished: Unpublished) -> None:
        self._drain = drain
        self._unpublished = unpublished
        self._worker: Worker | None = None
        self._reading: Reading | None = None
        self._waiting_for: Outage | None = None

    def wait_for(self, outage: Outage) -> None:
        """Note what keeps the replica from beginning."""
        self._waiting_for = outage

    def begin(self, worker: Worker, reading: Reading) -> None:
        """Tell of a loop from now on."""
        self._worker, self._reading = worker, reading

    @property
    def sign_of_life_age_s(self) -> float:
        """Seconds since the loop passed a station; before there is a loop, a start has a limit of its own."""
        return 0.0 if self._worker is None else self._worker.life.age_s

    @property
    def state(self) -> str:
        """starting, running, outage or draining."""
        if self._drain.requested:
            return "draining"
        if self._worker is None:
            return "starting"
        return "outage" if self._worker.outage else "running"

    @property
    def outage(self) -> str | None:
        """What is being waited for."""
        outage = self._waiting_for if self._worker is None else self._worker.outage
        return None if outage is None else str(outage)

    @property
    def idle_s(self) -> float:
        """Seconds since the loop had something to do; a start is no rest."""
        return 0.0 if self._worker is None else self._worker.life.idle_s

    def counts(self) -> Mapping[str, int]:
        """What has been done since start."""
        tally = Tally() if self._worker is None else self._worker.tally
        reading = self._reading
        return {
            **msgspec.structs.asdict(tally),
            "unknown_fields": 0 if reading is None else reading.decoder.unknown_fields,
            "dropped_labels": 0 if reading is None else reading.decoder.dropped_labels,
            "unreadable_timestamps": 0 if reading is None else reading.stamps.unreadable,
            "unpublished_results": self._unpublished.count,
        }
