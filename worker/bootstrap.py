"""The composition root: the only file that knows all concrete types, and how a replica starts and ends."""

import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from worker import __version__, wire
from worker.consumer import Deadlines, Drain, Handling, Intake, Lease, SignOfLife, Tally, Worker
from worker.consumer.ports import Executor, Orders, Store
from worker.domain.deliveries import Delivery, Settlement
from worker.domain.errors import Outage
from worker.domain.orders import OrderRecord
from worker.execution import load
from worker.ops import Checks, HttpServer, Identity, Views
from worker.settings import Settings, read_settings
from worker.store import Database, OrderStore, StoreInspector, migrations
from worker.stream import OrderStream, RedisLink, RedisNames, StreamInspector, Submitter

log = structlog.get_logger(__name__)

# One for the loop, so that nothing else can keep it waiting; pages and checks share the others.
LOOP_CONNECTIONS = 1
INSPECTION_CONNECTIONS = 2

# Leaving because a part has died or a deadline has passed: others take over after the lease.
EXIT_STOPPED = 70


class Replica(msgspec.Struct):
    """One running worker and everything it opened."""

    worker: Worker
    stream: Orders
    store: Store
    names: RedisNames
    decoder: wire.Decoder
    drain: Drain
    deadlines: Deadlines
    checks: Checks
    server: HttpServer

    def run(self) -> None:
        """Work until a signal asks to leave."""
        self.checks.start()
        self.server.start()
        self.deadlines.start()
        try:
            self.worker.run()
        finally:
            self.deadlines.stop()
            self.checks.stop()
            self.server.stop()


def redis_names(settings: Settings) -> RedisNames:
    """Return the keys in use, and a consumer name that no other replica has or had."""
    unique = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    return RedisNames(
        orders=settings.orders_stream,
        results=settings.results_stream,
        dead_letters=settings.dead_letter_stream,
        group=settings.group,
        consumer=f"{settings.consumer}-{unique}",
    )


@contextmanager
def redis_link(settings: Settings, purpose: str) -> Iterator[RedisLink]:
    """Open connections to Redis for a purpose, which their client name tells."""
    link = RedisLink(
        settings.redis_url.get_secret_value(),
        block_ms=settings.block_ms,
        client_name=f"orders-worker-{purpose}",
    )
    try:
        yield link
    finally:
        link.close()


@contextmanager
def database(settings: Settings, purpose: str, connections: int = 1) -> Iterator[Database]:
    """Open a pool of connections to PostgreSQL for a purpose, which their application name tells."""
    opened = Database(
        settings.database_url.get_secret_value(),
        transaction_timeout_s=settings.transaction_timeout_s,
        pool_size=connections,
        application_name=f"orders-worker-{purpose}",
    )
    try:
        yield opened
    finally:
        opened.close()


def database_from_environment() -> Database:
    """Return the database that the environment names, for alembic's own command line."""
    settings = read_settings(os.environ)
    return Database(
        settings.database_url.get_secret_value(),
        transaction_timeout_s=settings.transaction_timeout_s,
        pool_size=1,
        application_name="orders-worker-alembic",
    )


class Renderer:
    """Writes results and letters; the JSON copy only where somebody listens."""

    def __init__(self, settings: Settings, consumer: str) -> None:
        self._copies = settings.results_channel is not None
        self._stream = settings.orders_stream
        self._letters = wire.DeadLetterWriter(consumer=consumer, version=__version__)

    def result(self, delivery: Delivery, record: OrderRecord) -> Settlement:
        """Return the settlement that publishes the result of a row."""
        fields = wire.result_fields(record)
        copy = wire.result_copy(fields) if self._copies else ""
        return Settlement(delivery.entry_id, "publish", fields, copy)

    def letter(self, delivery: Delivery, *, reason: str, error: str, order_id: str | None) -> Settlement:
        """Return the settlement that buries a delivery."""
        fields = self._letters.fields(
            delivery, reason=reason, error=error, order_id=order_id, seen=time.time()
        )
        return Settlement(delivery.entry_id, "bury", fields)

    def derived_order_id(self, entry_id: str) -> str:
        """Return the identity of an order whose entry names none."""
        return wire.derived_order_id(self._stream, entry_id)


class WorkerVitals:
    """What pages may know of the running loop."""

    def __init__(self, worker: Worker, decoder: wire.Decoder) -> None:
        self._worker = worker
        self._decoder = decoder

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
        return {**msgspec.structs.asdict(self._worker.tally), "unknown_fields": self._decoder.unknown_fields}


Wrap = Callable[[Any], Any]


@contextmanager
def replica(
    settings: Settings,
    *,
    wrap_stream: Wrap = lambda stream: stream,
    wrap_store: Wrap = lambda store: store,
    wrap_executor: Wrap = lambda executor: executor,
) -> Iterator[Replica]:
    """Connect, check everything a start depends on, and put a replica together.

    The wraps let a test stand between the loop and its ports. Raises ConfigurationError, SchemaBehind, or
    Outage where a server does not answer.
    """
    executor: Executor = wrap_executor(
        load(
            settings.executor,
            paper_success_rate=settings.paper_success_rate,
            paper_latency_s=settings.paper_latency_ms / 1000,
        )
    )
    names = redis_names(settings)
    with (
        redis_link(settings, "loop") as link,
        redis_link(settings, "checks") as inspecting_link,
        database(settings, "loop", LOOP_CONNECTIONS) as loop_database,
        database(settings, "checks", INSPECTION_CONNECTIONS) as inspecting_database,
    ):
        schema = migrations.require_current(loop_database)
        if schema is migrations.SchemaState.NEWER:
            log.warning("the database schema is newer than this version knows")
        stream = OrderStream(
            link, names, lease_ms=settings.lease_ms, results_channel=settings.results_channel
        )
        stream.rehearse()
        stream.ensure_group()
        worker, decoder, deadlines = _assemble(
            settings, names, wrap_stream(stream), wrap_store(OrderStore(loop_database)), executor
        )
        stream_inspector = StreamInspector(inspecting_link, names)
        store_inspector = StoreInspector(inspecting_database)
        checks = Checks(_questions(stream_inspector, store_inspector, inspecting_database))
        views = Views(
            Identity(version=__version__, mode=settings.executor, consumer=names.consumer, group=names.group),
            WorkerVitals(worker, decoder),
            checks,
            stale_after_s=(settings.lease_ms + settings.block_ms) / 1000,
            recent_orders=store_inspector.recent,
        )
        server = HttpServer(views, host=settings.health_host, port=settings.health_port)
        yield Replica(
            worker=worker,
            stream=worker.stream,
            store=worker.store,
            names=names,
            decoder=decoder,
            drain=worker.drain,
            deadlines=deadlines,
            checks=checks,
            server=server,
        )


def _assemble(
    settings: Settings, names: RedisNames, stream: Orders, store: Store, executor: Executor
) -> tuple[Worker, wire.Decoder, Deadlines]:
    clock = time.monotonic
    drain, tally = Drain(), Tally()
    lease = Lease(stream, lease_ms=settings.lease_ms, clock=clock)
    deadlines = Deadlines(
        drain,
        execute_s=settings.execute_timeout_s,
        drain_s=settings.drain_timeout_s,
        clock=clock,
        leave=_leave,
    )
    decoder = wire.Decoder(
        stream=settings.orders_stream,
        order_id_field=settings.order_id_field,
        max_bytes=settings.max_entry_bytes,
        max_fields=settings.max_entry_fields,
    )
    renderer = Renderer(settings, names.consumer)
    intake = Intake(
        stream,
        lease,
        tally,
        batch_size=settings.batch_size,
        block_ms=settings.block_ms,
        lease_ms=settings.lease_ms,
        clock=clock,
    )
    handling = Handling(
        stream,
        store,
        executor,
        decoder,
        renderer,
        lease,
        max_deliveries=settings.max_deliveries,
        now=lambda: datetime.now(UTC),
        executing=deadlines.executing,
    )
    worker = Worker(stream, store, intake, handling, renderer, lease, drain, tally, SignOfLife(clock))
    return worker, decoder, deadlines


def _leave(last_word: str) -> None:
    log.error("leaving at once, others take over after the lease", why=last_word)
    os._exit(EXIT_STOPPED)


def run(settings: Settings) -> None:
    """Run one replica until SIGTERM or SIGINT. Raises what `replica` raises, and Stopped."""
    with replica(settings) as running:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: running.drain.request())
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
        running.run()


def migrate(settings: Settings, revision: str = "head") -> None:
    """Bring the schema up; safe however many do so at once."""
    with database(settings, "migrate") as opened:
        migrations.upgrade(opened, revision)


@contextmanager
def submitter(settings: Settings) -> Iterator[Submitter]:
    """Open the orders stream for adding to it."""
    with redis_link(settings, "submit") as link:
        link.ping()
        yield Submitter(link, settings.orders_stream)


def schema(settings: Settings) -> str:
    """Return where the schema stands against this version: current, behind or newer."""
    with database(settings, "migrate") as opened:
        return migrations.schema_state(opened).value


def snapshot(settings: Settings) -> dict[str, Any]:
    """Return what the streams and the database look like now. A server that is away has an error instead."""
    found: dict[str, Any] = {}
    with redis_link(settings, "status") as link, database(settings, "status") as opened:
        questions = _questions(StreamInspector(link, redis_names(settings)), StoreInspector(opened), opened)
        for server, question in questions.items():
            try:
                found[server] = {"connected": True, **question()}
            except Outage as outage:
                found[server] = {"connected": False, "error": outage.reason}
    return found


def _questions(
    stream: StreamInspector, store: StoreInspector, opened: Database
) -> dict[str, Callable[[], Mapping[str, Any]]]:
    def ask_database() -> Mapping[str, Any]:
        state = migrations.schema_state(opened)
        if state is migrations.SchemaState.BEHIND:
            # There may be no tables to count.
            return {"schema": state.value}
        return {**msgspec.to_builtins(store.state()), "schema": state.value}

    return {"redis": lambda: msgspec.to_builtins(stream.state()), "database": ask_database}
