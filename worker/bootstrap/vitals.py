"""What pages and people may ask: the running loop, the streams, the database."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from worker import wire
from worker.consumer import Stamps, Worker
from worker.store import Database, StoreInspector, schema
from worker.stream import StreamInspector, Unpublished


class WorkerVitals:
    """What pages may know of the running loop."""

    def __init__(
        self, worker: Worker, decoder: wire.Decoder, stamps: Stamps, unpublished: Unpublished
    ) -> None:
        self._worker = worker
        self._decoder = decoder
        self._stamps = stamps
        self._unpublished = unpublished

    @property
    def sign_of_life_age_s(self) -> float:
        """Seconds since the loop passed one of its stations."""
        return self._worker.life.age_s

    @property
    def state(self) -> str:
        """running, outage or draining."""
        if self._worker.drain.requested:
            return "draining"
        return "outage" if self._worker.outage else "running"

    @property
    def outage(self) -> str | None:
        """What is being waited for."""
        outage = self._worker.outage
        return None if outage is None else str(outage)

    def counts(self) -> Mapping[str, int]:
        """What has been done since start."""
        return {
            **msgspec.structs.asdict(self._worker.tally),
            "unknown_fields": self._decoder.unknown_fields,
            "dropped_labels": self._decoder.dropped_labels,
            "unreadable_timestamps": self._stamps.unreadable,
            "unpublished_results": self._unpublished.count,
        }


def questions(
    stream: StreamInspector, store: StoreInspector, opened: Database
) -> dict[str, Callable[[], Mapping[str, Any]]]:
    """Return how each server is asked how it is. The questions raise Outage where it does not answer."""

    def ask_database() -> Mapping[str, Any]:
        found = schema.standing(opened)
        standing: dict[str, Any] = {"schema": found.state.value}
        if found.obstacle is not None:
            standing["obstacle"] = msgspec.to_builtins(found.obstacle)
        if found.state in {schema.SchemaState.BEHIND, schema.SchemaState.OBSTRUCTED}:
            # There may be no tables to count.
            return standing
        return {**msgspec.to_builtins(store.state()), **standing}

    return {"redis": lambda: msgspec.to_builtins(stream.state()), "database": ask_database}
