"""Puts together what a replica does beside its orders.

A replica gives back what Redis has lost, tells what PostgreSQL has lost, and makes itself known.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from msgspec import Struct

from worker import wire
from worker.bootstrap.parts.pruning import own_turn
from worker.bootstrap.parts.spelling import decoder_of, renderer_of
from worker.consumer.ports import Orders
from worker.domain.fleets import FRESH_S
from worker.pruning import OwnTurn
from worker.repair import Doubts, LostRows, Repair
from worker.repair.own_repair import TURN_S as REPAIR_TURN_S
from worker.settings import Settings
from worker.source import Registration
from worker.source.moved import refuse_what_others_executed
from worker.source.registration import TURN_S
from worker.store import Database, Sources, StoreEvidence
from worker.stream import (
    LostRowsBook,
    Marks,
    Mending,
    RedisLink,
    RedisNames,
    Rounds,
    StreamEvidence,
    StreamToken,
    Turn,
    Unpublished,
)


class Beside(Struct, frozen=True):
    """What has its turn between two batches."""

    repair: Repair
    lost_rows: LostRows
    registration: Registration
    pruning: OwnTurn
    # Raises ConfigurationError where the stream was executed under another source, or Outage.
    check: Callable[[], None]


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
    evidence, rows = StreamEvidence(link, names), StoreEvidence(opened, settings.fleet)
    sources, decoder = Sources(opened, settings.fleet), decoder_of(settings)
    spelling, window_s = wire.Spelling(settings.fleet.source), settings.repair_window_s
    registration = Registration(
        token, sources, Turn(link, names.registering, names.consumer, lease_ms=round(TURN_S * 1000)),
        source=settings.fleet.source, fresh_s=max(window_s, FRESH_S),
        idle_every_s=settings.idle_check_s, clock=clock,
    )  # fmt: skip
    mending = Mending(
        link, names,
        lease_ms=settings.lease_ms, results_channel=settings.results_channel, unpublished=unpublished,
    )  # fmt: skip
    turn = Turn(link, names.repairing, names.consumer, lease_ms=round(REPAIR_TURN_S * 1000))
    repair = Repair(
        evidence, mending, rows, Rounds(link, turn, names.rounds, names.consumer, says="window_s"),
        renderer_of(settings, names.consumer),
        consumer=names.consumer,
        window_s=window_s,
        clock=clock,
        now=lambda: datetime.now(UTC),
        open_doubts=Doubts(evidence, marks, rows, spelling, stream.settle, decoder, clock=clock),
        decoder=decoder,
    )  # fmt: skip
    book = LostRowsBook(link, names, lease_ms=settings.lease_ms)
    lost_rows = LostRows(evidence, rows, book, spelling, decoder, window_s=window_s, clock=clock)
    check = partial(refuse_what_others_executed, token, evidence, sources, decoder)
    pruning = own_turn(settings, names, link, opened)
    return Beside(repair, lost_rows, registration, pruning, check)
