"""Each alert against a live worker: a Prometheus sees it fire in its state, and resolve after it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from local import LocalPostgres
from tests.commands import command
from tests.faults.executors import NOTES
from tests.faults.scale import CHAOS
from tests.fleets import assert_audits_are_clean
from tests.harness import Deployment, assert_invariants, eventually, names_of, numbered_orders
from tests.processes import WorkerProcess
from tests.prometheus import Prometheus, alerts, prometheus
from tests.skips import Reason, counts_added, skip

WITHIN_S = 60.0

pytestmark = pytest.mark.timeout(300)


class Night:
    """One deployment with one replica at a time, and a Prometheus that looks at it."""

    def __init__(
        self,
        deployment: Deployment,
        postgres: LocalPostgres | None,
        folder: Path,
        watch: Prometheus,
        opened: ExitStack,
    ) -> None:
        self.deployment = deployment
        self.postgres = postgres
        self.folder = folder
        self.watch = watch
        self._opened = opened
        self._starts = 0

    def start(self, **overrides: Any) -> WorkerProcess:
        """Start the replica, and have it watched."""
        self._starts += 1
        log = self.folder / f"worker-{self._starts}.log"
        replica = WorkerProcess(self.deployment, log, **{"lease_ms": 2000, "max_deliveries": 3, **overrides})
        self._opened.callback(replica.end)
        self.watch.scrape({"replica": replica.port})
        return replica

    def started(self, **overrides: Any) -> WorkerProcess:
        """Start the replica, and return when it takes orders."""
        replica = self.start(**overrides)
        eventually(lambda: replica.has_started, within=WITHIN_S)
        return replica

    def is_seen(self) -> bool:
        """Whether the replica answers Prometheus."""
        return bool(self.watch.value("execution_uptime_seconds"))

    def settle(self) -> None:
        """Wait until nothing is left to do."""
        eventually(self.deployment.all_settled, within=WITHIN_S)

    def execute(self, statement: str) -> None:
        """Do something to the tables by hand."""
        with self.deployment.database.transaction() as connection:
            connection.execute(text(statement))


@pytest.fixture
def night(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    """Servers of its own where one of them is hurt."""
    (notes := tmp_path / "executions").touch()
    monkeypatch.setenv(NOTES, str(notes))
    name = request.node.callspec.params["name"]
    deployment: Deployment = request.getfixturevalue("own_deployment" if name in OWN else "deployment")
    postgres: LocalPostgres | None = request.getfixturevalue("own_postgres") if name in OWN else None
    with (
        prometheus(tmp_path / "prometheus", 60 if name == "ReplicaFlaps" else 10) as watch,
        ExitStack() as opened,
    ):
        yield Night(deployment, postgres, tmp_path, watch, opened)


@contextmanager
def orders_wait(night: Night) -> Iterator[None]:
    """A replica takes one order at a time, and others have stood there for an hour."""
    now_ms = int(night.deployment.redis.time()[0]) * 1000
    night.deployment.submit(numbered_orders(30), under=[f"{now_ms - 3_600_000 + n}-0" for n in range(30)])
    slow = night.started(batch_size=1, paper_latency_ms=1500)
    yield
    slow.drain()
    night.started()
    night.settle()


@contextmanager
def an_order_is_stuck(night: Night) -> Iterator[None]:
    """A venue takes its time for orders that came ten minutes ago, all of which are in hand."""
    now_ms = int(night.deployment.redis.time()[0]) * 1000
    night.deployment.submit(numbered_orders(10), under=[f"{now_ms - 600_000 + n}-0" for n in range(10)])
    slow = night.started(lease_ms=20_000, paper_latency_ms=3000)
    yield
    slow.drain()
    night.started()
    night.settle()


@contextmanager
def an_order_kills(night: Night) -> Iterator[None]:
    """It takes its process down until it is buried, by a replica that has just started."""
    (poison,) = numbered_orders(1)
    night.deployment.submit([{**poison, "client_id": "poison-1"}])
    executor = {"executor": "tests.faults.executors:Killing"}
    replica = night.start(**executor)

    def is_buried() -> bool:
        nonlocal replica
        if not replica.is_running:
            replica = night.start(**executor)
        return len(night.deployment.letters()) == 1

    eventually(is_buried, within=WITHIN_S)
    yield
    night.settle()


@contextmanager
def nobody_consumes(night: Night) -> Iterator[None]:
    """The only replica is killed."""
    replica = night.started()
    eventually(night.is_seen, within=WITHIN_S)
    replica.signal(signal.SIGKILL)
    yield
    night.started()


@contextmanager
def an_outage_goes_on(night: Night) -> Iterator[None]:
    """PostgreSQL is stopped, and an order comes."""
    assert night.postgres is not None
    night.started()
    night.postgres.stop()
    night.deployment.submit(numbered_orders(1))
    yield
    night.postgres.start()
    night.settle()


@contextmanager
def orders_are_trimmed(night: Night) -> Iterator[None]:
    """A producer trims what nobody has read; in the end a person takes the note away."""
    deployment = night.deployment
    deployment.submit(numbered_orders(1))
    first = night.started()
    night.settle()
    if not counts_added(deployment.redis):
        skip(Reason.COUNTS_NOTHING_ADDED)
    first.drain()
    deployment.submit(numbered_orders(5)[1:])
    deployment.redis.xtrim(deployment.orders, maxlen=1, approximate=False)
    del deployment.accepted[1:-1]
    night.started()
    yield
    deployment.redis.delete(names_of(deployment, "any").lost)


@contextmanager
def rows_are_lost(night: Night) -> Iterator[None]:
    """The newest rows are gone when a replica connects anew; in the end an audit gives them back."""
    deployment = night.deployment
    deployment.submit(numbered_orders(10))
    first = night.started()
    night.settle()
    first.drain()
    night.execute("DELETE FROM trades WHERE order_id IN ('order-8', 'order-9')")
    night.execute("DELETE FROM orders WHERE order_id IN ('order-8', 'order-9')")
    night.started()
    yield
    assert command(deployment, "audit", "--repair", lease_ms=2000, max_deliveries=3).exit_code in {0, 1}
    night.settle()


@contextmanager
def redis_evicts(night: Night) -> Iterator[None]:
    """Somebody gives Redis a limit, and has it evict."""
    night.started()
    night.deployment.redis.config_set("maxmemory", "1gb")
    night.deployment.redis.config_set("maxmemory-policy", "allkeys-lru")
    yield
    night.deployment.redis.config_set("maxmemory-policy", "noeviction")


@contextmanager
def the_schema_is_behind(night: Night) -> Iterator[None]:
    """The tables are set back under a replica that runs."""
    night.started()
    with night.deployment.database.transaction() as connection:
        (version,) = connection.execute(text("SELECT version_num FROM orders_worker_version")).one()
    night.execute("DELETE FROM orders_worker_version")
    yield
    night.execute(f"INSERT INTO orders_worker_version VALUES ('{version}')")  # noqa: S608  read just now


@contextmanager
def a_replica_flaps(night: Night) -> Iterator[None]:
    """It is started, seen and killed, over and over; then it stays."""
    for _ in range(4):
        replica = night.started()
        eventually(night.is_seen, within=WITHIN_S)
        replica.signal(signal.SIGKILL)
        replica.wait()
        eventually(lambda: not night.is_seen(), within=WITHIN_S)
    night.started()
    yield


STATES: dict[str, Callable[[Night], Any]] = {
    "OrdersWaitTooLong": orders_wait,
    "OrdersPendingTooLong": an_order_is_stuck,
    "OrdersGivenUp": an_order_kills,
    "NobodyConsumes": nobody_consumes,
    "OutageGoesOn": an_outage_goes_on,
    "OrdersLostUnread": orders_are_trimmed,
    "RowsLost": rows_are_lost,
    "ServerUnsafe": redis_evicts,
    "SchemaBehind": the_schema_is_behind,
    "ReplicaFlaps": a_replica_flaps,
}
OWN = {"OutageGoesOn", "ServerUnsafe"}
# The others take minutes together.
ALWAYS = {"NobodyConsumes", "OutageGoesOn", "ServerUnsafe"}
EXPECTED = {
    "OutageGoesOn": {"server": "postgresql"},
    "ServerUnsafe": {"server": "redis", "risk": "evicts"},
    "OrdersGivenUp": {"reason": "poison"},
    "ReplicaFlaps": {"instance": "replica"},
}


def test_every_alert_is_brought_about() -> None:
    assert STATES.keys() == alerts().keys()


@pytest.mark.parametrize("name", [each for each in STATES if CHAOS or each in ALWAYS])
def test_alert_fires_in_its_state_and_resolves_after_it(night: Night, name: str) -> None:
    with STATES[name](night):
        eventually(lambda: name in night.watch.firing(), within=WITHIN_S)
        labels = night.watch.firing()[name]

    eventually(lambda: name not in night.watch.firing(), within=WITHIN_S)
    assert EXPECTED.get(name, {}).items() <= labels.items()
    night.settle()
    if name == "RowsLost":
        # What was executed again has another time than its first result.
        assert_audits_are_clean([night.deployment])
    else:
        assert_invariants(night.deployment)
