"""Follows batches through the loop: notes when each station began and ended, and has spans made at the end.

Nothing is made while a batch is on its way: what is not sampled costs two looks at the clock an order, and
a batch six. A replica that dies leaves no spans of the batch that it had in hand; whoever takes it over does.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeAlias, TypeVar

import structlog
from msgspec import Struct, field

from worker import wire
from worker.domain.deliveries import Delivery, Left, Outcome, Settled
from worker.domain.errors import Outage, named
from worker.domain.orders import Order, UnsoundOrder
from worker.tracing.sampling import Sampling

log = structlog.get_logger(__name__)

Acted = TypeVar("Acted")
Station: TypeAlias = Literal["receive", "process", "settle"]


class Span(Struct, frozen=True):
    """A time, in ns since 1970."""

    began: int
    ended: int


class Trouble(Struct, frozen=True):
    """An error that a station met: when, its type, and of an outage the server and what logs say of it."""

    at: int
    type: str
    server: str = ""
    message: str = ""


class Batch(Struct):
    """What is known of one batch by now: so many deliveries, and when each station had it.

    `executed` has when an executor had the order of an entry. A station met `troubles`, of each server one;
    `ended_by` is the one that it did not outlast.
    """

    began: int
    deliveries: int = 0
    stations: dict[Station, Span] = field(default_factory=dict)
    executed: dict[str, Span] = field(default_factory=dict)
    troubles: dict[Station, list[Trouble]] = field(default_factory=dict)
    ended_by: Trouble | None = None
    outcomes: Sequence[Outcome] = ()
    settled: bool = False


class Followed(Struct, frozen=True):
    """An outcome of a batch that is followed, and where the trace of its order goes on, if it has one."""

    outcome: Outcome
    traceparent: str | None


# Makes the spans of a batch, and of those of its orders that are followed.
Write: TypeAlias = Callable[[Batch, Sequence[Followed]], None]


class BatchTracing:
    """Traces of what the loop does, as it needs them. Whatever goes wrong here costs no order anything."""

    def __init__(self, sampling: Sampling, write: Write, *, now: Callable[[], int] = time.time_ns) -> None:
        self._sampling = sampling
        self._write: Write | None = write
        self._now = now
        self._batch: Batch | None = None
        self._executing: tuple[str, int] | None = None

    def receive(self, take: Callable[[], list[Delivery]]) -> list[Delivery]:
        """Return what is taken next, and follow it; raises what `take` does."""
        batch = Batch(self._now())
        try:
            found = take()
        except Outage as outage:
            batch.stations["receive"] = Span(batch.began, self._now())
            self._meet(batch, "receive", Trouble(self._now(), "Outage", outage.server, str(outage)))
            self._end(batch)
            raise
        if found:
            batch.stations["receive"] = Span(batch.began, self._now())
            self._batch = batch
        return found

    def process(self, deliveries: Sequence[Delivery], handle: Callable[[], list[Outcome]]) -> list[Outcome]:
        """Return what becomes of a batch; raises what `handle` does. After an outage it goes on."""
        batch = self._batch = self._batch or Batch(self._now())
        batch.deliveries = len(deliveries)
        batch.outcomes = outcomes = self._through("process", batch, handle)
        return outcomes

    def settle(self, settle: Callable[[], None]) -> None:
        """Settle a batch, and have its spans made; raises what `settle` does. After an outage it goes on."""
        batch = self._batch = self._batch or Batch(self._now())
        self._through("settle", batch, settle)
        batch.settled, self._batch = True, None
        self._end(batch)

    def executing(self, order: Order | UnsoundOrder | None) -> None:
        """Note that an executor has an order from now on; None: no more."""
        if order is not None:
            self._executing = order.entry_id, self._now()
        elif self._executing is not None:
            (entry_id, began), self._executing = self._executing, None
            if self._batch is not None:
                self._batch.executed[entry_id] = Span(began, self._now())

    def leave(self) -> None:
        """Have spans made of the batch that is left to others, if one is."""
        batch, self._batch = self._batch, None
        if batch is not None:
            self._end(batch)

    def _through(self, station: Station, batch: Batch, act: Callable[[], Acted]) -> Acted:
        passed = batch.stations.get(station)
        began = self._now() if passed is None else passed.began
        try:
            return act()
        except Outage as outage:
            self._meet(batch, station, Trouble(self._now(), "Outage", outage.server, str(outage)))
            raise
        except Exception as error:
            # Its text may quote what an order says; the log has it.
            batch.ended_by = Trouble(self._now(), type(error).__name__)
            self._meet(batch, station, batch.ended_by)
            raise
        finally:
            batch.stations[station] = Span(began, self._now())
            if batch.ended_by is not None:
                self._batch = None
                self._end(batch)

    @staticmethod
    def _meet(batch: Batch, station: Station, trouble: Trouble) -> None:
        met = batch.troubles.setdefault(station, [])
        if all(each.server != trouble.server for each in met):
            met.append(trouble)

    def _end(self, batch: Batch) -> None:
        if self._write is None:
            return
        try:
            followed = list(self._followed(batch.outcomes))
            # What struck a batch in which nobody is followed is taken like an order without a trace.
            if followed or (batch.troubles and self._sampling.takes(None, str(batch.began))):
                self._write(batch, followed)
        except Exception as error:
            self._write = None
            log.exception("no spans can be made, nothing is followed any more", error=named(error))

    def _followed(self, outcomes: Sequence[Outcome]) -> Iterator[Followed]:
        takes = self._sampling.takes
        for each in outcomes:
            if type(each) is Settled:
                traceparent = each.record.traceparent
            elif type(each) is Left:
                continue
            else:
                traceparent = wire.traceparent_in(each.delivery.fields)
            if takes(traceparent, each.delivery.entry_id):
                yield Followed(each, traceparent)
