"""Puts together what a replica does beside its orders: giving back what Redis has lost, and being known as its source."""

import time
from datetime import UTC, datetime

from msgspec import Struct

from worker import wire
from worker.bootstrap.spelling import decoder_of, renderer_of
from worker.consumer import Doubts, Registration, Repair
from worker.consumer.ports import Orders
from worker.settings import Settings
from worker.store import Database, Sources, StoreEvidence
from worker.stream import Marks, Mending, RedisLink, RedisNames, StreamEvidence, StreamToken, Unpublished


class Beside(Struct, frozen=True):
    """What has its turn between two batches."""

    repair: Repair
    registration: Registration


def beside_the_work(
    settings: Settings,
    names: RedisNames,
    link: RedisLink,
    opened: Database,
    stream: Orders,
    marks: Marks,
    unpublished: Unpublished,
) -> Beside:
    """Return it, the source not yet registered."""
    token, clock = StreamToken(link, names), time.monotonic
    registration = Registration(
        token, Sources(opened, settings.fleet), source=settings.fleet.source, clock=clock
    )
    evidence, rows = StreamEvidence(link, names), StoreEvidence(opened, settings.fleet)
    repair = Repair(
        evidence,
        Mending(
            link,
            names,
            lease_ms=settings.lease_ms,
            results_channel=settings.results_channel,
            unpublished=unpublished,
        ),
        rows,
        renderer_of(settings, names.consumer),
        consumer=names.consumer,
        window_s=settings.repair_window_s,
        clock=clock,
        now=lambda: datetime.now(UTC),
        open_doubts=Doubts(evidence, marks, rows, wire.Spelling(), stream.settle, clock=clock),
        decoder=decoder_of(settings),
    )
    return Beside(repair, registration)
