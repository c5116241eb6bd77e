"""A small fleet with something of everything: what pages are looked at with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness import Deployment, eventually, numbered_orders
from tests.processes import COMMAND, WorkerProcess, workers

# Silent for twice as long is gone, for ten times as long is forgotten.
LEASE_MS = 2000
READ_TOKEN, ADMIN_TOKEN = "reading-is-not-for-everybody", "changing-is-for-very-few-only"
TOKENS = {"read_token": READ_TOKEN, "admin_token": ADMIN_TOKEN}
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"

FILLED, DUPLICATED, CONFLICTING = "order-3", "order-1", "order-2"
REJECTED, DEAD = "rejected-1", "dead-1"


@dataclass
class Scene:
    """Two replicas of one fleet: anybody reads the pages of one, the other asks for a token."""

    deployment: Deployment
    folder: Path
    plain: WorkerProcess
    guarded: WorkerProcess

    @contextmanager
    def third(self) -> Iterator[WorkerProcess]:
        """Start one more replica."""
        with workers(self.deployment, self.folder, 1, lease_ms=LEASE_MS) as (process,):
            yield process


@contextmanager
def staged(deployment: Deployment, folder: Path) -> Iterator[Scene]:
    """Start the fleet, and have it settle orders of each kind."""
    send(deployment)
    overrides = {"lease_ms": LEASE_MS, "executor": f"{__package__}.executors:Staged", "max_deliveries": 3}
    plain = WorkerProcess(deployment, folder / "plain.log", COMMAND, **overrides)
    guarded = WorkerProcess(deployment, folder / "guarded.log", COMMAND, **overrides, **TOKENS)
    try:
        eventually(lambda: plain.has_started and guarded.has_started)
        eventually(deployment.all_settled, within=40)
        yield Scene(deployment, folder, plain, guarded)
    finally:
        plain.end()
        guarded.end()


def send(deployment: Deployment, count: int = 40) -> None:
    """Send orders of each kind: most are filled, and some of everything that is not."""
    orders = numbered_orders(count)
    first = orders[0]
    deployment.submit(
        [
            *orders,
            {**first, "order_id": REJECTED, "client_id": "rejected"},
            {**first, "order_id": DEAD, "client_id": "poison", "reason": HOSTILE},
            # The same again, and another order under an order id that is taken.
            orders[1],
            {**orders[2], "quantity": "999"},
            # What is no order at all.
            {"order_id": HOSTILE, "symbol": HOSTILE, "side": "NOWHERE", "quantity": "much"},
        ]
    )
