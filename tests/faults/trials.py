"""One small run of a worker through a proxy that does harm, and what must be true of it afterwards."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from threading import Thread
from urllib.parse import urlsplit, urlunsplit

import redis

from local.directory import free_port
from tests.faults.framing import Framing, PostgresWire, Resp
from tests.faults.proxy import Plan, Proxy
from tests.faults.scale import CHAOS
from tests.harness import Deployment, assert_invariants, eventually, sample_orders, take_and_vanish
from worker.bootstrap.replica import Replica, replica
from worker.domain.errors import Outage
from worker.settings import read_settings

SERVERS: dict[str, Callable[[], Framing]] = {"REDIS_URL": Resp, "DATABASE_URL": PostgresWire}
MOST_STARTS = 12
# Whatever is left to its lease is not settled in time.
NO_HELP_FROM_LEASES = {"lease_ms": 60_000, "block_ms": 5, "max_deliveries": 3}
SHORT_LEASES = {
    **NO_HELP_FROM_LEASES,
    "lease_ms": 250,
    "transaction_timeout_s": 0.2,
    "execute_timeout_s": 0.2,
}


def soon(condition: Callable[[], object], *, within: float) -> None:
    """The same as eventually, looking more often: hundreds of runs wait here."""
    eventually(condition, within=within, every_s=0.002)


def in_turn(run: Callable[[int], list[str]], *, least: int, step: int = 1) -> int:
    """Strike at message 1, 1 + step, ... until a run ends without; return how many runs were struck.

    Fails where messages up to the least number were not struck. With CHAOS in the environment the step is 1.
    """
    step = 1 if CHAOS else step
    assert run(0) == [], "a plan that never strikes"
    runs = 0
    for number in count(1, step):
        if not run(number):
            break
        runs += 1
    assert runs * step >= least, f"no more than {runs} runs were struck"
    return runs


@contextmanager
def looping(deployment: Deployment, environment: Mapping[str, str]) -> Iterator[tuple[Replica, Thread]]:
    """Put a replica together, again until it succeeds, and its loop into a thread; drain it at the end."""
    with ExitStack() as stack:
        made = _started(environment, stack)
        stack.callback(made.server.stop)
        thread = Thread(target=made.worker.run)
        try:
            yield made, thread
        finally:
            made.drain.request()
            soon(lambda: _has_ended(deployment, thread), within=20)


def _started(environment: Mapping[str, str], stack: ExitStack) -> Replica:
    for _ in range(MOST_STARTS):
        with suppress(Outage):
            return stack.enter_context(replica(read_settings(environment)))
    raise AssertionError(f"no start in {MOST_STARTS} attempts")


def _has_ended(deployment: Deployment, thread: Thread) -> bool:
    # Redis looks only ten times a second whether a read has blocked for long enough, or whenever it is asked
    # anything.
    with suppress(redis.RedisError):
        deployment.redis.ping()
    thread.join(timeout=0.002)
    return not thread.is_alive()


@dataclass
class Trials:
    """Runs on one deployment, one after the other, each on orders and tables of its own."""

    deployment: Deployment
    server: str
    overrides: Mapping[str, object] = field(default_factory=lambda: NO_HELP_FROM_LEASES)
    abandoned: int = 2
    within: float = 10.0
    usual: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def run(self, plan: Plan, *, at_start: bool = False, trickle: bool = False) -> list[str]:
        """Let a replica work where the plan strikes, at its start or after it; return what was struck."""
        with self._harmed(plan, trickle=trickle) as proxy:
            if at_start:
                proxy.arm(plan)
            with self.working(proxy, plan=None if at_start else plan):
                soon(self.deployment.all_settled, within=self.within)
        return proxy.harmed

    def run_beside_another(self, plan: Plan, *, gives_up: bool = False) -> list[str]:
        """The same beside a replica with an undisturbed way, alone at the end where the first gives up."""
        with self._harmed(plan) as proxy, ExitStack() as first:
            first.enter_context(self.working(proxy, plan=plan))
            if gives_up:
                soon(lambda: proxy.harmed or self.deployment.all_settled(), within=self.within)
                first.close()
            with self.working(None):
                soon(self.deployment.all_settled, within=self.within)
        return proxy.harmed

    @contextmanager
    def _harmed(self, plan: Plan, *, trickle: bool = False) -> Iterator[Proxy]:
        self._submit()
        proxy = self._proxy(trickle=trickle)
        try:
            with proxy:
                yield proxy
                proxy.await_end()
            self._assert_as_usual()
        except BaseException as error:
            error.add_note(f"{self.server} {plan}: {proxy.harmed}")
            raise
        self._clean()

    def _proxy(self, *, trickle: bool) -> Proxy:
        """Return a way to the server that can be harmed."""
        parts = urlsplit(self.deployment.environment()[self.server])
        assert parts.hostname is not None
        assert parts.port is not None
        return Proxy((parts.hostname, parts.port), SERVERS[self.server], trickle=trickle)

    @contextmanager
    def working(self, proxy: Proxy | None, plan: Plan | None = None) -> Iterator[Replica]:
        """Run a replica behind the proxy, started again until it starts; the plan holds from then on."""
        environment = self.deployment.environment(health_port=free_port(), **self.overrides)
        if proxy is not None:
            parts = urlsplit(environment[self.server])
            account = parts.netloc.rpartition("@")[0]
            way = parts._replace(netloc=f"{account}@127.0.0.1:{proxy.port}")
            environment[self.server] = urlunsplit(way)
        with looping(self.deployment, environment) as (made, thread):
            if proxy is not None and plan is not None:
                # Scripts that the server does not know have one more way to be interrupted.
                self.deployment.redis.script_flush()
                proxy.arm(plan)
            thread.start()
            yield made

    def _submit(self) -> None:
        """Submit orders of every class; some are abandoned by a consumer that is gone."""
        orders = [
            {**order, "order_id": f"order-{number}"} for number, order in enumerate(sample_orders()[:4])
        ]
        deployment = self.deployment
        deployment.submit(orders[:2])
        if self.abandoned:
            take_and_vanish(deployment, self.abandoned)
        deployment.submit(
            [orders[2], {**orders[3], "quantity": "0"}, orders[2], {**orders[2], "quantity": "9"}]
        )
        deployment.add_raw("payload", "{")

    def _assert_as_usual(self) -> None:
        """Nothing lost, nothing doubled, and every result and dead letter as without any harm."""
        assert_invariants(self.deployment)
        here = {
            result["order_id"]: {name: text for name, text in result.items() if name not in TIMES}
            for result in self.deployment.published()
        }
        here["reasons"] = {letter["reason"].decode(): "" for letter in self.deployment.letters()}
        if not self.usual:
            assert sorted(here) == ["order-0", "order-1", "order-2", "order-3", "reasons"]
            assert here["reasons"].keys() == {"conflict", "undecodable"}
            self.usual.update(here)
        assert here == self.usual

    def _clean(self) -> None:
        deployment = self.deployment
        keys = deployment.all_keys()
        deployment.redis.delete(*keys)
        with deployment.database.transaction() as connection:
            connection.exec_driver_sql("DELETE FROM trades")
            connection.exec_driver_sql("DELETE FROM orders")
            # The stream of before is not to look like a second one.
            connection.exec_driver_sql("DELETE FROM order_sources")
        deployment.accepted.clear()


# What no two runs have in common.
TIMES = frozenset({"timestamp", "entry_id"})
