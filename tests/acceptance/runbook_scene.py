"""One deployment that a page of the runbook is followed on, and what can befall it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from sqlalchemy import text

from tests.faults.executors import NOTES
from tests.harness import Deployment, eventually, numbered_orders
from tests.processes import COMMAND, WorkerProcess

DEFAULTS: dict[str, Any] = {
    "block_ms": 2000,
    "lease_ms": 30_000,
    "transaction_timeout_s": 10,
    "execute_timeout_s": 10,
}
# Where a lease has to run out while somebody waits for it.
SHORT: dict[str, Any] = {
    "block_ms": 1000,
    "lease_ms": 4000,
    "transaction_timeout_s": 3,
    "execute_timeout_s": 3,
}
LONG_LEASE = {**DEFAULTS, "lease_ms": 600_000}


Event: TypeAlias = Callable[[], object]


def one_after_another(*events: Event) -> Event:
    """Return all of these as one."""

    def all_of_them() -> None:
        for event in events:
            event()

    return all_of_them


class Server(Protocol):
    """A server that can be stopped and started."""

    def start(self) -> None:
        """Start it."""

    def stop(self) -> None:
        """Stop it."""


class Scene:
    """One deployment with the names of the default settings, and everything that can befall it."""

    def __init__(
        self, deployment: Deployment, folder: Path, redis: Server, postgres: Server | None, opened: ExitStack
    ) -> None:
        self.deployment = deployment
        self.folder = folder
        self.redis = redis
        self.postgres = postgres
        self.opened = opened
        self.replicas: dict[str, WorkerProcess] = {}
        self.settings: dict[str, Any] = dict(DEFAULTS)
        self.backup: list[str] = []

    def submit(self, count: int, first: int = 0) -> list[str]:
        """Add orders with ids of their own."""
        return self.deployment.submit(numbered_orders(first + count)[first:])

    def start(
        self, name: str = "worker", command: tuple[str, ...] = COMMAND, **overrides: Any
    ) -> WorkerProcess:
        """Start a replica with a log named after it, and wait until it takes orders."""
        log = self.folder / f"{name}.log"
        made = WorkerProcess(self.deployment, log, command, **{**self.settings, **overrides})
        self.opened.callback(made.end)
        self.replicas[name] = made
        (self.folder / "port").write_text(str(made.port), encoding="ascii")
        eventually(lambda: made.has_started, within=40)
        return made

    def begin_with(self, count: int) -> None:
        """Let a replica settle so many orders, and work on."""
        self.submit(count)
        self.start()
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is left to do."""
        eventually(self.deployment.all_settled, within=60)

    def execute(self, *statements: str) -> None:
        """Do something to the tables by hand."""
        with self.deployment.database.transaction() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def drain(self) -> None:
        """End every replica in good order."""
        for replica in self.replicas.values():
            assert replica.drain() == 0
        self.replicas.clear()


def break_everything(scene: Scene) -> None:
    """Break each invariant by hand, each on an order of its own."""
    deployment, client = scene.deployment, scene.deployment.redis
    rows = deployment.rows()
    results = {
        dict(fields)["order_id"].decode(): each for each, fields in deployment.entries("order_results")
    }

    def fields_of(order_id: str) -> dict[str, bytes]:
        return {k: v for i, f in deployment.entries("order_results") if i == results[order_id] for k, v in f}

    doubled, altered = fields_of("order-1"), fields_of("order-2")
    client.xdel("order_results", results["order-0"], results["order-2"], results["order-3"])
    for key in deployment.mark_keys:
        client.zrem(key, rows["order-3"].entry_id, rows["order-4"].entry_id)
    client.xadd("order_results", dict(doubled))  # type: ignore[arg-type]
    client.xadd("order_results", {**altered, "filled_quantity": "1e9"})  # type: ignore[dict-item]
    client.xadd("orders:dead", {"entry_id": rows["order-8"].entry_id, "reason": "poison"})
    client.xdel("orders:dead", deployment.entries("orders:dead")[0][0])
    client.xdel("orders", rows["order-7"].entry_id, rows["order-9"].entry_id)
    (acked,) = scene.submit(1, 99)
    client.xreadgroup(deployment.group, "by-hand", {"orders": ">"}, count=1)
    client.xack("orders", deployment.group, acked)
    scene.execute(
        "UPDATE trades SET quantity = quantity * 2 WHERE order_id = 'order-5'",
        "DELETE FROM trades WHERE order_id IN ('order-6', 'order-7', 'order-9')",
        "DELETE FROM orders WHERE order_id IN ('order-6', 'order-7')",
        "UPDATE orders SET status = 'SUBMITTED', filled_quantity = 0, average_price = NULL"
        " WHERE order_id = 'order-9'",
        "UPDATE orders SET status = 'DEAD', filled_quantity = 0, average_price = NULL"
        " WHERE order_id = 'order-10'",
        "DELETE FROM trades WHERE order_id = 'order-10'",
    )


@contextmanager
def scene_of(deployment: Deployment, folder: Path, redis: Server, postgres: Server | None) -> Iterator[Scene]:
    """Yield a scene; what it has started ends with the block."""
    deployment.orders, deployment.results, deployment.dead_letters = "orders", "order_results", "orders:dead"
    with ExitStack() as opened:
        yield Scene(deployment, folder, redis, postgres, opened)


def notes_in(folder: Path) -> dict[str, str]:
    """Return the environment that the executors of the fault tests want."""
    notes = folder / "executions"
    notes.touch()
    return {NOTES: str(notes)}
