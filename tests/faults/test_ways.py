"""Orders flow to the primary that Sentinel or a proxy leads to, and into a cluster: nodes die, slots move."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median_low
from typing import TypeAlias

import pytest
from redis.crc import key_slot

from local import LocalPostgres, LocalRedis
from tests.faults.load import Load
from tests.faults.moving import is_ready, seconds_until_results_go_on
from tests.faults.reporting import record
from tests.faults.scale import CHAOS
from tests.fronted import Fronted
from tests.gathering import Cluster, Gathering, Watched, gathered
from tests.harness import Deployment, Servers, assert_invariants, eventually
from tests.processes import workers
from worker.bootstrap.commands import migrate

TIMES = {"lease_ms": 10_000, "transaction_timeout_s": 5, "execute_timeout_s": 5, "batch_size": 100}
RECOVERIES = 10 if CHAOS else 1
MOVES = 5 if CHAOS else 2

pytestmark = pytest.mark.timeout(900)

# The same streams and tables where the primary is now.
Here: TypeAlias = Callable[..., Deployment]


@contextmanager
def places(gathering: Gathering, postgres: LocalPostgres) -> Iterator[Here]:
    """Give the deployment at each server; the log of accepted entries is one."""
    accepted: list[str] = []
    with ExitStack() as opened:

        def here(server: LocalRedis, url: str = "") -> Deployment:
            servers = Servers(url or server.url, postgres.url, way=gathering.way)
            return opened.enter_context(Deployment(servers, "own", "postgres", accepted))

        yield here


def slot_of(deployment: Deployment) -> int:
    return int(key_slot(deployment.orders.encode()))


def owner(gathering: Gathering, deployment: Deployment) -> LocalRedis:
    """Return the server that has the streams now."""
    return gathering.primary(slot_of(deployment)) if isinstance(gathering, Cluster) else gathering.primary()


def first_place(gathering: Gathering, here: Here) -> Deployment:
    """Return the deployment where it begins, its tables made."""
    made = here(gathering.servers[0])
    migrate(made.settings())
    return here(owner(gathering, made))


def for_producers(gathering: Gathering, here: Here, now: Deployment) -> Deployment:
    """Return where orders are added: at the server itself, or by the proxy that replicas use, too."""
    is_fronted = isinstance(gathering, Fronted)
    return here(owner(gathering, now), gathering.way) if is_fronted else now


def lost_by_redis(deployment: Deployment) -> set[str]:
    """Return the entries that were accepted and are on no server any more."""
    return set(deployment.accepted) - {entry_id for entry_id, _ in deployment.entries(deployment.orders)}


def kill(_: Gathering, server: LocalRedis) -> None:
    """Let a primary die. Once it is back it thinks for a while that it is one."""
    server.kill()


def demote(gathering: Gathering, server: LocalRedis) -> None:
    """Have another one promoted. The one of before lives on, and its connections with it."""
    assert isinstance(gathering, Watched)
    assert gathering.primary() is server
    gathering.fail_over()


def assert_nothing_but_what_redis_lost(now: Deployment, load: Load) -> int:
    """Assert that each order has one effect and one result, and return how many were lost before.

    Those are on no server any more: whoever adds orders waits for replicas, where this may not be (WAIT).
    """
    eventually(now.all_settled, within=120)
    rows = now.rows()
    # What was executed, and whose result was lost with the primary, is published again.
    eventually(lambda: len(now.published()) >= len(rows), within=60)
    results = [result["order_id"] for result in now.published()]
    assert len(results) == len(set(results))
    assert set(results) == rows.keys()
    assert now.letters() == []
    on_the_stream = {dict(fields)["order_id"].decode() for _, fields in now.entries(now.orders)}
    assert on_the_stream <= rows.keys()
    lost = {f"order-{number}" for number in range(load.submitted)} - rows.keys()
    assert len(lost) <= len(lost_by_redis(now))
    return len(lost)


def promoted(gathering: Gathering, here: Here, now: Deployment, before: LocalRedis) -> Deployment:
    """Return the deployment at the server that has taken the place of one."""
    eventually(lambda: owner(gathering, now) is not before, within=30)
    return here(owner(gathering, now))


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        pytest.param(Watched, kill, id="sentinel-dies"),
        pytest.param(Watched, demote, id="sentinel-lives-on"),
        pytest.param(Cluster, kill, id="cluster-dies"),
        *([pytest.param(Fronted, kill, id="haproxy-dies")] if CHAOS else []),
        pytest.param(Fronted, demote, id="haproxy-lives-on"),
    ],
)
def test_orders_go_on_at_the_promoted_primary_under_load(
    own_postgres: LocalPostgres,
    tmp_path: Path,
    kind: type[Gathering],
    end: Callable[[Gathering, LocalRedis], None],
) -> None:
    taken: list[float] = []
    with gathered(kind, tmp_path / "redis") as gathering, places(gathering, own_postgres) as here:
        now = first_place(gathering, here)
        load = Load(for_producers(gathering, here, now))
        with workers(now, tmp_path, 2, **TIMES) as replicas:
            with load.running():
                for _ in range(RECOVERIES):
                    load.await_more()
                    before, began = owner(gathering, now), time.monotonic()
                    end(gathering, before)
                    now = promoted(gathering, here, now, before)
                    load.deployment = for_producers(gathering, here, now)
                    seconds_until_results_go_on(now)
                    taken.append(time.monotonic() - began)
                    before.start()
                    eventually(lambda: all(map(is_ready, replicas)), within=30)
                    eventually(gathering.is_complete, within=60)
                    now = here(owner(gathering, now))
                    load.deployment = for_producers(gathering, here, now)
            lost = assert_nothing_but_what_redis_lost(now, load)
            assert [replica.drain() for replica in replicas] == [0, 0]

    p50, worst = median_low(taken), max(taken)
    figures = {"p50_s": round(p50, 3), "worst_s": round(worst, 3), "of_the_load": round(load.reached, 2)}
    record("ways", f"{kind.__name__} {end.__name__}", recoveries=len(taken), lost=lost, doubled=0, **figures)


def test_slot_that_moves_under_load_is_settled_whole(own_postgres: LocalPostgres, tmp_path: Path) -> None:
    """Proves that no script does a part of its work while some keys are here and some are there."""
    with gathered(Cluster, tmp_path / "redis") as gathering, places(gathering, own_postgres) as here:
        assert isinstance(gathering, Cluster)
        now = first_place(gathering, here)
        slot, load = slot_of(now), Load(now)
        with workers(now, tmp_path, 2, **TIMES) as replicas:
            with load.running():
                for number in range(MOVES):
                    load.await_more()
                    there = [each for each in gathering.servers[:3] if each is not gathering.primary(slot)]
                    gathering.move(slot, there[number % 2])
                    now = load.deployment = here(there[number % 2])
                    seconds_until_results_go_on(now)
            eventually(now.all_settled, within=120)
            assert [replica.drain() for replica in replicas] == [0, 0]

        assert len(now.rows()) == len(now.published()) == load.submitted
        assert now.letters() == []
        assert_invariants(now)
    record("ways", "slot moved", moves=MOVES, lost=0, doubled=0, of_the_load=round(load.reached, 2))
