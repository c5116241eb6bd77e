"""One simulated replica, put together from the real consumer as worker/bootstrap puts one together."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from msgspec import Struct

from tests.builders import decoder
from tests.fakes import (
    FakeClock,
    FakeClosedLetters,
    FakeOrders,
    FakeSources,
    FakeStore,
    FakeToken,
    FakeTurn,
    NoPruning,
)
from tests.repair_fakes import FakeEvidence, FakeLostRows, FakeMarks, FakeMending, FakeRows
from worker.consumer import (
    Chores,
    Drain,
    Handling,
    Intake,
    Isolation,
    Lease,
    Measures,
    Pace,
    PreparedDecoder,
    Retention,
    Settler,
    SignOfLife,
    Tally,
    Worker,
)
from worker.consumer.ports import Orders, Store
from worker.consumer.retention import TURN_S
from worker.domain.ports import Executor
from worker.repair import Doubts, LostRows, Repair
from worker.source import Registration
from worker.wire import Renderer, Spelling

# Each page of these is a call of its own.
PAGED = frozenset({"result_pages", "letter_pages"})

Step = Callable[[str, str, Callable[[], Any], tuple[Any, ...]], Any]


def _sound(_server: str, port: Any) -> Any:
    return port


class Parts(Struct, frozen=True):
    """What a replica is made of; a test of the model puts something defective in the place of a part.

    `between` stands between the worker and its port to a server, on the worker's side of the faults.
    """

    orders: type[FakeOrders] = FakeOrders
    store: type[FakeStore] = FakeStore
    intake: type[Intake] = Intake
    worker: type[Worker] = Worker
    between: Callable[[str, Any], Any] = _sound


class Limits(Struct, frozen=True):
    """The settings that a history chooses."""

    batch_size: int
    block_ms: int
    lease_ms: int
    max_deliveries: int
    keep_s: int
    repair_window_s: int = 900


class SmallPages(FakeEvidence):
    """Others go on between two pages."""

    page = 2


class Stepped:
    """A port whose every call, whatever it is called, is a step of the history."""

    def __init__(self, server: str, port: object, step: Step) -> None:
        self._server = server
        self._port = port
        self._step = step

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        # What connections there are is no matter here; a step for it would be one where nothing can go wrong.
        if not callable(found) or name == "reconnect":
            return found
        if name in PAGED:
            return lambda *args: self._pages(name, found(*args), args)

        def call(*args: Any, meanwhile: Callable[[], None] | None = None, **options: Any) -> Any:
            act = partial(found, *args, **options)
            if name == "settle":
                act = self._port.as_sent(act)  # type: ignore[attr-defined]
            answer = self._step(self._server, name, act, args)
            # Steps of its own: beside a server that is at work they may as well come after it.
            if meanwhile is not None:
                meanwhile()
            return answer

        self.__dict__[name] = call
        return call

    def _pages(self, name: str, pages: Iterator[Any], args: tuple[Any, ...]) -> Iterator[Any]:
        """Yield pages; each of them is a step."""
        while (page := self._step(self._server, name, lambda: next(pages, None), args)) is not None:
            yield page


def assemble(
    parts: Parts,
    limits: Limits,
    clock: FakeClock,
    orders_port: FakeOrders,
    store_port: FakeStore,
    executor_port: object,
    step: Step,
) -> Worker:
    """Return a worker whose ports are stepped, of the fleet that its store is of."""

    def stepped(server: str, port: object) -> Any:
        return parts.between(server, Stepped(server, port, step))

    consumer = orders_port.consumer
    orders: Orders = stepped("redis", orders_port)
    rows: Store = stepped("postgresql", store_port)
    executor: Executor = stepped("venue", executor_port)
    drain, tally, measures = Drain(), Tally(), Measures(clock.monotonic, clock.now)
    source = store_port.fleet.source
    understands = decoder(source=source)
    renderer = Renderer(
        source=source,
        consumer=consumer,
        version="model",
        copies=False,
        max_bytes=65536,
        max_fields=64,
        clock=clock.monotonic,
    )
    lease = Lease(orders, lease_ms=limits.lease_ms, clock=clock.monotonic)
    pace = Pace(most=limits.batch_size, clock=clock.monotonic, leaving=drain.event.is_set)
    intake = parts.intake(
        orders,
        lease,
        tally,
        pace=pace,
        batch_bytes=16 << 20,
        block_ms=limits.block_ms,
        lease_ms=limits.lease_ms,
        max_deliveries=limits.max_deliveries,
        clock=clock.monotonic,
        pause=clock.advance,
    )
    handling = Handling(
        orders,
        rows,
        executor,
        PreparedDecoder(understands),
        renderer,
        lease,
        max_deliveries=limits.max_deliveries,
        max_order_age_s=0,
        execute_timeout_s=limits.lease_ms / 3000,
        now=clock.now,
        executing=lambda _order: None,
        pace=pace,
        measures=measures,
    )
    retention = Retention(
        orders, FakeClosedLetters(),
        FakeTurn(orders_port.stream, "tidying", consumer, lease_ms=round(TURN_S * 1000)),
        orders_keep_s=limits.keep_s, results_maxlen=0, results_keep_s=0, letters_keep_s=0,
        lease_ms=limits.lease_ms, clock=clock.monotonic,
    )  # fmt: skip
    evidence = stepped("redis", SmallPages(orders_port))
    table = stepped("postgresql", FakeRows(store_port, clock))
    marks = stepped("redis", FakeMarks(orders_port))
    repair = Repair(
        evidence,
        stepped("redis", FakeMending(orders_port)),
        table,
        stepped("redis", orders_port.stream.repair_rounds.of(consumer, lease_ms=limits.lease_ms)),
        renderer,
        consumer=consumer,
        window_s=limits.repair_window_s,
        clock=clock.monotonic,
        now=clock.now,
        open_doubts=Doubts(
            evidence, marks, table, Spelling(source), orders.settle, understands, clock=clock.monotonic
        ),
        decoder=understands,
    )
    # It reads, and notes for people: nothing that is played here comes of it.
    lost_rows = LostRows(
        evidence,
        table,
        FakeLostRows().of(consumer),
        Spelling(source),
        understands,
        window_s=0,
        clock=clock.monotonic,
    )
    registration = Registration(
        FakeToken(), FakeSources(), FakeTurn(orders_port.stream, "registering", consumer, lease_ms=5000),
        source=source, fresh_s=900, idle_every_s=0, clock=clock.monotonic,
    )  # fmt: skip
    life = SignOfLife(clock.monotonic)
    isolation = Isolation(orders, intake, lease, tally, max_deliveries=limits.max_deliveries)
    settler = Settler(orders, renderer, intake, lease, repair.doubts, isolation, tally, measures)
    chores = Chores(tally, clock=clock.monotonic)
    return parts.worker(
        orders, rows, intake, handling, isolation, settler, lease, retention, repair, lost_rows, NoPruning(),
        registration,
        chores, drain, tally, life, measures,
    )  # fmt: skip
