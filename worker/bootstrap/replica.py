"""Puts one replica together, and runs it."""

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from worker import __version__
from worker.bootstrap.beside import Beside, beside_the_work
from worker.bootstrap.connections import database, redis_link, redis_names
from worker.bootstrap.execution import batch_size_of, close, executor_of
from worker.bootstrap.signals import call_when_asked_to_leave
from worker.bootstrap.spelling import decoder_of, renderer_of
from worker.bootstrap.vitals import WorkerVitals, questions
from worker.consumer import (
    Deadlines,
    DecodesAhead,
    Drain,
    Handling,
    Intake,
    Lease,
    Retention,
    SignOfLife,
    Stamps,
    Tally,
    Worker,
)
from worker.consumer.ports import Executor, Orders, Store, is_pure
from worker.domain.orders import Order, UnsoundOrder
from worker.ops import Checks, HttpServer, Identity, Views
from worker.settings import Settings
from worker.store import Database, OrderStore, StoreInspector, schema
from worker.stream import (
    Marks,
    OrderStream,
    RedisLink,
    RedisNames,
    Rehearsal,
    StreamInspector,
    Unpublished,
)

log = structlog.get_logger(__name__)

# One for the loop, so that nothing else can keep it waiting; pages and checks share the others.
LOOP_CONNECTIONS = 1
INSPECTION_CONNECTIONS = 2

# Leaving because a part has died or a deadline has passed: others take over after the lease.
EXIT_STOPPED = 70

# Objects that are left over; the default of 700 is reached several times in each batch.
GARBAGE_LOOKED_FOR_AFTER = 20_000

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


@contextmanager
def replica(
    settings: Settings, *, wrap_stream: Wrap = _as_is, wrap_store: Wrap = _as_is, wrap_executor: Wrap = _as_is
) -> Iterator[Replica]:
    """Connect, check everything a start depends on, and put a replica together.

    The wraps let a test stand between the loop and its ports. Raises ConfigurationError, SchemaBehind, or
    Outage where a server does not answer.
    """
    executor = wrap_executor(executor_of(settings))
    names = redis_names(settings)
    with ExitStack() as opened:
        opened.callback(close, executor)
        link = opened.enter_context(redis_link(settings, "loop"))
        asking_link = opened.enter_context(redis_link(settings, "checks"))
        loop_database = opened.enter_context(database(settings, "loop", LOOP_CONNECTIONS))
        asked_database = opened.enter_context(database(settings, "checks", INSPECTION_CONNECTIONS))
        if schema.require_current(loop_database) is schema.SchemaState.NEWER:
            log.warning("the database schema is newer than this version knows")
        unpublished = Unpublished()
        stream = OrderStream(
            link,
            names,
            lease_ms=settings.lease_ms,
            results_channel=settings.results_channel,
            unpublished=unpublished,
        )
        Rehearsal(link, names, lease_ms=settings.lease_ms, results_channel=settings.results_channel).run()
        stream.ensure_group()
        marks = Marks(link, names, lease_ms=settings.lease_ms)
        marks.unite()
        # Before any row is written: of those that are written from now on nobody can have published anything.
        stream.marks_made = marks.state().made
        port = wrap_stream(stream)
        beside = beside_the_work(settings, names, link, loop_database, port, marks, unpublished)
        store = wrap_store(OrderStore(loop_database, settings.fleet))
        worker, deadlines, vitals = _assemble(settings, names, port, store, executor, beside)
        checks, views = _pages(settings, names, asking_link, asked_database, vitals)
        server = HttpServer(views, host=settings.health_host, port=settings.health_port)
        yield Replica(worker, names, deadlines, checks, server)


def _assemble(
    settings: Settings, names: RedisNames, stream: Orders, store: Store, executor: Executor, beside: Beside
) -> tuple[Worker, Deadlines, WorkerVitals]:
    clock, drain, tally = time.monotonic, Drain(), Tally()
    lease = Lease(stream, lease_ms=settings.lease_ms, clock=clock)
    deadlines = Deadlines(
        drain,
        execute_s=settings.execute_timeout_s, drain_s=settings.drain_timeout_s, clock=clock, leave=_leave,
    )  # fmt: skip
    decoder, stamps = decoder_of(settings, warn=_warn_of_near_names), Stamps(settings.max_order_age_s)
    renderer = renderer_of(settings, names.consumer)
    ahead = DecodesAhead(decoder, stamps.look)
    intake = Intake(
        stream, lease, tally,
        batch_size=batch_size_of(settings, executor),
        block_ms=settings.block_ms,
        lease_ms=settings.lease_ms,
        clock=clock,
        prepare=ahead.prepare,
    )  # fmt: skip
    life = SignOfLife(clock)
    handling = Handling(
        stream, store, executor, ahead, renderer, lease,
        max_deliveries=settings.max_deliveries,
        max_order_age_s=settings.max_order_age_s,
        execute_timeout_s=settings.execute_timeout_s,
        now=lambda: datetime.now(UTC),
        executing=deadlines.executing if is_pure(executor) else _both(deadlines, life),
        before_commit=intake.read_ahead,
    )  # fmt: skip
    retention = Retention(
        stream,
        orders_keep_s=settings.orders_keep_s, results_maxlen=settings.results_maxlen, lease_ms=settings.lease_ms,
        clock=clock,
    )  # fmt: skip
    repair, registration = beside.repair, beside.registration
    worker = Worker(
        stream, store, intake, handling, renderer, lease, retention, repair, registration, drain, tally, life
    )
    return worker, deadlines, WorkerVitals(worker, decoder, stamps, beside.unpublished)


def _warn_of_near_names(near: Mapping[str, str]) -> None:
    log.warning("fields are ignored that have almost the name of one that is read", read_instead=dict(near))


def _both(deadlines: Deadlines, life: SignOfLife) -> Callable[[Order | UnsoundOrder | None], None]:
    def executing(order: Order | UnsoundOrder | None) -> None:
        # A group of executions over a network may outlast what the loop is given between two stations.
        life.give()
        deadlines.executing(order)

    return executing


def _pages(
    settings: Settings, names: RedisNames, link: RedisLink, opened: Database, vitals: WorkerVitals
) -> tuple[Checks, Views]:
    store = StoreInspector(opened, settings.fleet)
    checks = Checks(questions(StreamInspector(link, names), store, opened))
    identity = Identity(
        version=__version__, mode=settings.executor, consumer=names.consumer, group=names.group
    )
    stale_after_s = (settings.lease_ms + settings.block_ms) / 1000
    return checks, Views(identity, vitals, checks, stale_after_s=stale_after_s, recent_orders=store.recent)


def _leave(last_word: str) -> None:
    log.error("leaving at once, others take over after the lease", why=last_word)
    os._exit(EXIT_STOPPED)


def run(settings: Settings) -> None:
    """Run one replica until SIGTERM or SIGINT. Raises what `replica` raises, and Stopped."""
    with replica(settings) as running:
        call_when_asked_to_leave(running.drain.request)
        log.info(
            "worker started",
            version=__version__,
            consumer=running.names.consumer,
            stream=running.names.orders,
            group=running.names.group,
            executor=settings.executor,
            batch_size=settings.batch_size,
            health=f"http://{settings.health_host}:{settings.health_port}",
        )
        _collect_rarely()
        running.run()


def _collect_rarely() -> None:
    # What a batch leaves behind is freed by its reference counts, all that was imported stays for ever: looking through
    # both many times a batch took a fifth of the processor time and found nothing.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_LOOKED_FOR_AFTER)
