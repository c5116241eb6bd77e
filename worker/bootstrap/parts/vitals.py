"""What pages may ask of the running loop."""

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from worker import wire
from worker.bootstrap.parts.tracing import Traces
from worker.consumer import Drain, Measures, Stamps, Tally, Worker
from worker.domain.errors import Outage
from worker.domain.measured import Figures
from worker.stream import Unpublished


class Reading(Struct, frozen=True):
    """What counts, and what follows, while entries are read and worked on."""

    decoder: wire.Decoder
    stamps: Stamps
    measures: Measures
    traces: Traces


class ReplicaVitals:
    """What pages may know of a replica: that it waits for servers, and once it has begun, of its loop."""

    def __init__(
        self,
        drain: Drain,
        unpublished: Unpublished,
        measures: Measures,
        departures: Callable[[], Mapping[str, int]],
    ) -> None:
        """Take what counts already before there is a loop; `departures`: how often each server was left."""
        self._drain = drain
        self._measures = measures
        self._departures = departures
        self._unpublished = unpublished
        self._worker: Worker | None = None
        self._reading: Reading | None = None
        self._waiting_for: Outage | None = None

    def wait_for(self, outage: Outage) -> None:
        """Note what keeps the replica from beginning."""
        self._measures.outages.meet(outage.server)
        self._waiting_for = outage

    def begin(self, worker: Worker, reading: Reading) -> None:
        """Tell of a loop from now on."""
        self._measures.outages.end()
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
            "malformed_traceparents": 0 if reading is None else reading.decoder.malformed_traceparents,
            "unreadable_timestamps": 0 if reading is None else reading.stamps.unreadable,
            "unpublished_results": self._unpublished.count,
        }

    def figures(self) -> Figures:
        """What was measured since start."""
        measures, worker = self._measures, self._worker
        return Figures(
            histograms=measures.histograms,
            deliveries=measures.deliveries,
            outages=measures.outages.told(),
            reconnects=self._departures(),
            repaired={} if worker is None else dict(worker.repair.given_back),
            claimed=0 if worker is None else worker.intake.claimed,
            retries_waiting=0 if worker is None else worker.intake.retries_waiting,
            retention_age_s=None if worker is None else worker.retention.age_s,
        )
