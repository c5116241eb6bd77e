"""Puts one replica together."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from worker.bootstrap.parts import clocks
from worker.bootstrap.parts.beside import Beside, beside_the_work
from worker.bootstrap.parts.connections import database, redis_link, redis_names
from worker.bootstrap.parts.execution import close, executor_of, pace_of
from worker.bootstrap.parts.face import Places, face
from worker.bootstrap.parts.patience import Patience
from worker.bootstrap.parts.spelling import decoder_of, hiding_of, renderer_of
from worker.bootstrap.parts.starting import Start
from worker.bootstrap.parts.tracing import Traces, traces_of
from worker.bootstrap.parts.vitals import Reading, ReplicaVitals
from worker.consumer import (
    Chores,
    Deadlines,
    Drain,
    Handling,
    Intake,
    Isolation,
    Lease,
    Measures,
    PreparedDecoder,
    Retention,
    Settler,
    SignOfLife,
    Stamps,
    Tally,
    Worker,
)
from worker.consumer.ports import Orders, Store, Tracing
from worker.consumer.retention import TURN_S
from worker.domain.deliveries import FIRST_COUNT
from worker.domain.orders import Order, UnsoundOrder
from worker.domain.ports import Executor
from worker.ops import Checks, HttpServer
from worker.settings import Settings
from worker.store import OrderStore
from worker.stream import (
    ClosedLetters,
    Marks,
    OrderStream,
    RedisLink,
    RedisNames,
    Turn,
    Unpublished,
)

log = structlog.get_logger(__name__)

# One for the loop alone, so that nothing else can keep it waiting.
LOOP_CONNECTIONS = 1

# Leaving because a part has died or a deadline has passed: others take over after the lease.
EXIT_STOPPED = 70

Wrap = Callable[[Any], Any]


def _as_is(port: Any) -> Any:  # noqa: ANN401  a port of any kind
    return port


class Replica(msgspec.Struct):
    """One running worker, and the threads beside its loop."""

    worker: Worker
    names: RedisNames
    deadlines: Deadlines
    checks: Checks
    server: HttpServer
    traces: Traces

    @property
    def drain(self) -> Drain:
        """The wish to leave."""
        return self.worker.drain

    def run(self) -> None:
        """Work until a drain is requested."""
        self.checks.start()
        self.server.start()
        self.deadlines.start()
        try:
            self.worker.run()
        finally:
            self.deadlines.stop()
            self.checks.stop()
            self.server.stop()
            self.traces.close(self.deadlines.left_s)


@contextmanager
def replica(
    settings: Settings,
    *,
    drain: Drain | None = None,
    shown: bool = False,
    first_count: int = FIRST_COUNT,
    wrap_stream: Wrap = _as_is,
    wrap_store: Wrap = _as_is,
    wrap_executor: Wrap = _as_is,
) -> Iterator[Replica]:
    """Connect, check everything a start depends on, and put a replica together.

    Servers that are away are waited for; where it is to be shown, pages say so meanwhile. The first read
    takes `first_count` entries, whatever they hold. The wraps let a test stand between the loop and its
    ports. Raises ConfigurationError, SchemaBehind, or Outage where a server does not answer in time.
    """
    drain = drain or Drain()
    executor, names = wrap_executor(executor_of(settings)), redis_names(settings)
    with ExitStack() as opened:
        opened.callback(close, executor)
        places, measures = Places.of(settings), Measures(time.monotonic, _utc_now)
        link = opened.enter_context(redis_link(settings, "loop", places.redis))
        loop_database = opened.enter_context(database(settings, "loop", LOOP_CONNECTIONS, places.database))
        vitals = ReplicaVitals(drain, unpublished := Unpublished(), measures, places.departures)
        checks, server = opened.enter_context(face(settings, names, places, vitals, shown=shown))
        stream = OrderStream(
            link, names, lease_ms=settings.lease_ms, results_channel=settings.results_channel,
            unpublished=unpublished, batch_bytes=settings.batch_bytes,
        )  # fmt: skip
        port, marks = wrap_stream(stream), Marks(link, names, lease_ms=settings.lease_ms)
        beside = beside_the_work(settings, names, link, loop_database, port, marks, unpublished)
        rows, retention = OrderStore(loop_database, settings.fleet), _retention(settings, names, link, port)
        start = Start(settings, names, link, loop_database, stream, marks, beside, rows, retention)
        Patience(settings.start_timeout_s, drain.event, vitals.wait_for).until_done(start.prepare)
        reading = _reading(settings, measures, opened.enter_context(traces_of(names)))
        worker, deadlines = _assemble(
            settings, names, port, wrap_store(rows), executor, beside, retention, reading, drain, first_count
        )
        vitals.begin(worker, reading)
        yield Replica(worker, names, deadlines, checks, server, reading.traces)


def _assemble(
    settings: Settings,
    names: RedisNames,
    stream: Orders,
    store: Store,
    executor: Executor,
    beside: Beside,
    retention: Retention,
    reading: Reading,
    drain: Drain,
    first_count: int,
) -> tuple[Worker, Deadlines]:
    tally, life, deadlines = Tally(), SignOfLife(time.monotonic), _deadlines(settings, drain)
    lease = Lease(stream, lease_ms=settings.lease_ms, clock=clocks.passed)
    renderer, hiding = renderer_of(settings, names.consumer), hiding_of(settings)
    ahead, pace = PreparedDecoder(reading.decoder, reading.stamps.look), pace_of(settings, executor, drain)
    intake = Intake(
        stream, lease, tally,
        pace=pace, batch_bytes=settings.batch_bytes, block_ms=_block_ms(settings), lease_ms=settings.lease_ms,
        max_deliveries=settings.max_deliveries, clock=clocks.passed, pause=drain.event.wait,
        first_count=first_count, prepare=ahead.prepare,
    )  # fmt: skip
    handling = Handling(
        stream, store, executor, ahead, renderer, lease,
        max_deliveries=settings.max_deliveries, max_order_age_s=settings.max_order_age_s,
        execute_timeout_s=settings.execute_timeout_s, now=_utc_now,
        executing=_all(deadlines, life, reading.traces.tracing), pace=pace, measures=reading.measures,
        hiding=hiding,
    )  # fmt: skip
    isolation = Isolation(stream, intake, lease, tally, max_deliveries=settings.max_deliveries)
    doubts, measures = beside.repair.doubts, reading.measures
    worker = Worker(
        stream, store, intake, handling, isolation,
        Settler(stream, renderer, intake, lease, doubts, isolation, tally, measures, hiding), lease,
        retention, beside.repair, beside.lost_rows, beside.pruning, beside.registration,
        Chores(tally, clock=time.monotonic), drain, tally, life, measures, reading.traces.tracing,
    )  # fmt: skip
    return worker, deadlines


def _deadlines(settings: Settings, drain: Drain) -> Deadlines:
    return Deadlines(
        drain, execute_s=settings.execute_timeout_s, drain_s=settings.drain_timeout_s,
        clock=time.monotonic, leave=_leave,
    )  # fmt: skip


def _reading(settings: Settings, measures: Measures, traces: Traces) -> Reading:
    decoder = decoder_of(settings, warn=_warn_of_near_names)
    return Reading(decoder, Stamps(settings.max_order_age_s), measures, traces)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _warn_of_near_names(near: Mapping[str, str]) -> None:
    log.warning("fields are ignored that have almost the name of one that is read", read_instead=dict(near))


def _block_ms(settings: Settings) -> int:
    """Return how long a read may wait.

    A signal is heard after it, and most of a drain is for what is in hand then.
    """
    return max(1, min(settings.block_ms, round(settings.drain_timeout_s * 1000 / 4)))


def _retention(settings: Settings, names: RedisNames, link: RedisLink, stream: Orders) -> Retention:
    return Retention(
        stream, ClosedLetters(link, names),
        Turn(link, names.tidying, names.consumer, lease_ms=round(TURN_S * 1000)),
        orders_keep_s=settings.orders_keep_s,
        results_maxlen=settings.results_maxlen,
        results_keep_s=settings.repair_window_s,
        letters_keep_s=settings.letters_keep_s,
        lease_ms=settings.lease_ms,
        clock=time.monotonic,
    )  # fmt: skip


def _all(
    deadlines: Deadlines, life: SignOfLife, tracing: Tracing | None
) -> Callable[[Order | UnsoundOrder | None], None]:
    def executing(order: Order | UnsoundOrder | None) -> None:
        # A group of executions may outlast what the loop is given between two stations.
        life.give()
        life.work()
        deadlines.executing(order)

    def followed(order: Order | UnsoundOrder | None) -> None:
        executing(order)
        if tracing is not None:
            tracing.executing(order)

    return executing if tracing is None else followed


def _leave(last_word: str) -> None:
    log.error("leaving at once, others take over after the lease", why=last_word)
    os._exit(EXIT_STOPPED)
