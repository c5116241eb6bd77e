"""DATABASE_URL names two servers: the primary dies under load, and its standby is promoted."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median_low
from typing import Any, TypeAlias

import pytest

from local import LocalPostgres, LocalRedis
from tests.commands import command
from tests.faults.load import Load
from tests.faults.moving import is_ready, seconds_until_results_go_on
from tests.faults.reporting import record
from tests.faults.scale import CHAOS
from tests.harness import Deployment, Servers, assert_invariants, eventually
from tests.processes import WorkerProcess, workers
from tests.replication import Pair, answer, client, cut_off, paired
from worker.bootstrap.commands import migrate

PROMOTIONS = 10 if CHAOS else 1
TIMES: dict[str, Any] = {
    "lease_ms": 10_000,
    "transaction_timeout_s": 5,
    "execute_timeout_s": 5,
    "batch_size": 100,
}
_IDS = "SELECT array_agg(order_id) FROM orders"

pytestmark = pytest.mark.timeout(3600 if CHAOS else 900)

# The same streams and tables: by way of all servers, or at one.
Here: TypeAlias = Callable[[str], Deployment]


@contextmanager
def places(own_redis: LocalRedis, pair: Pair) -> Iterator[Here]:
    """Give the deployment at each URL; the log of accepted entries is one."""
    accepted: list[str] = []
    with ExitStack() as opened:

        def here(database_url: str) -> Deployment:
            servers = Servers(own_redis.url, database_url)
            return opened.enter_context(Deployment(servers, "own", "postgres", accepted))

        migrate(here(pair.primary.url).settings())
        yield here


def lost_rows(replica: WorkerProcess) -> int | None:
    status, body = replica.get("/status")
    return json.loads(body)["redis"].get("lost_rows") if status == 200 else None


def lost_now(here: Deployment, pair: Pair) -> int:
    """Return how many orders have a result, and no row at the primary."""
    published = {result["order_id"] for result in here.published()}
    with client(pair.primary) as looking:
        return len(published - set(answer(looking, _IDS)))


def tell(kind: str, load: Load, taken: list[float], **figures: object) -> None:
    times = {"p50_s": round(median_low(taken), 3), "worst_s": round(max(taken), 3)}
    record("promotions", kind, recoveries=len(taken), of_the_load=round(load.reached, 2), **figures, **times)


@pytest.mark.parametrize(
    "lose", [LocalPostgres.kill, *([LocalPostgres.pause] if CHAOS else [])], ids=lambda how: how.__name__
)
def test_orders_go_on_at_the_promoted_synchronous_standby_and_nothing_is_lost(
    own_redis: LocalRedis,
    own_postgres: LocalPostgres,
    tmp_path: Path,
    lose: Callable[[LocalPostgres], None],
) -> None:
    """Proves it for a primary that dies, and for one that takes connections and never answers."""
    taken: list[float] = []
    with paired(own_postgres, tmp_path, "on") as pair, places(own_redis, pair) as here:
        load = Load(here(pair.primary.url))
        with workers(here(pair.url), tmp_path, 2, **TIMES) as replicas:
            with load.running():
                for _ in range(PROMOTIONS):
                    load.await_more()
                    began = time.monotonic()
                    pair.fail_over(lose)
                    seconds_until_results_go_on(load.deployment)
                    taken.append(time.monotonic() - began)
                    with load.resting():
                        assert lost_now(load.deployment, pair) == 0
                        pair.restore()
                        eventually(lambda: all(map(is_ready, replicas)), within=30)
            now = here(pair.primary.url)
            eventually(now.all_settled, within=120)
            assert [lost_rows(each) for each in replicas] == [0, 0]
            assert [replica.drain() for replica in replicas] == [0, 0]

        assert len(now.rows()) == len(now.published()) == load.submitted
        assert now.letters() == []
        assert_invariants(now, *(replica.tally for replica in replicas))
    tell(f"synchronous {lose.__name__}", load, taken, lost=0, doubled=0)


def test_rows_that_a_standby_lacks_that_is_promoted_under_load_are_told_and_mended(
    own_redis: LocalRedis, own_postgres: LocalPostgres, tmp_path: Path
) -> None:
    """Proves that a result tells of each, and that no order has two results in the end."""
    taken: list[float] = []
    told: list[float] = []
    lost: list[int] = []
    with paired(own_postgres, tmp_path) as pair, places(own_redis, pair) as here:
        load = Load(here(pair.primary.url))
        with workers(here(pair.url), tmp_path, 2, **TIMES) as replicas:
            with load.running():
                for _ in range(PROMOTIONS):
                    load.await_more()
                    cut_off(pair.standby)
                    load.await_more()
                    began = time.monotonic()
                    pair.fail_over()
                    seconds_until_results_go_on(load.deployment)
                    taken.append(time.monotonic() - began)
                    lost.append(lost_now(load.deployment, pair))
                    eventually(lambda: [lost_rows(each) for each in replicas] == [lost[-1]] * 2, within=120)
                    told.append(time.monotonic() - began)
                    with load.resting():
                        mended = command(here(pair.url), "audit", "--repair", **TIMES)
                        # 1 where results are still without their rows, 0 where those are back already.
                        assert mended.exit_code in {0, 1}, mended.output
                        eventually(lambda: [lost_rows(each) for each in replicas] == [0, 0], within=120)
                        pair.restore()
                        eventually(lambda: all(map(is_ready, replicas)), within=30)
            now = here(pair.primary.url)
            eventually(now.all_settled, within=120)
            assert [replica.drain() for replica in replicas] == [0, 0]

        results = [result["order_id"] for result in now.published()]
        assert len(results) == len(set(results)) == load.submitted
        assert lost_now(now, pair) == 0
        assert now.letters() == []
        # It does not mind that rows are younger than their results now.
        assert command(now, "audit", **TIMES).exit_code == 0
    assert min(lost) > 0
    figures = {"told_p50_s": round(median_low(told), 1), "told_worst_s": round(max(told), 1)}
    tell("lagging", load, taken, lost=sum(lost), doubled=0, mended=sum(lost), **figures)


def test_nothing_is_published_while_the_synchronous_standby_is_away(
    own_redis: LocalRedis, own_postgres: LocalPostgres, tmp_path: Path
) -> None:
    """Proves that a commit that nobody has confirmed is none, however often it is tried."""
    with paired(own_postgres, tmp_path, "on") as pair, places(own_redis, pair) as here:
        now = here(pair.primary.url)
        load = Load(now)
        with workers(here(pair.url), tmp_path, 2, **TIMES | {"transaction_timeout_s": 2}) as replicas:
            with load.running():
                load.await_more()
                pair.standby.pause()
                eventually(lambda: not any(map(is_ready, replicas)))
                before = now.redis.xlen(now.results)
                eventually(lambda: all("outage" in each.said for each in replicas))
                load.await_more()
                assert now.redis.xlen(now.results) == before
                pair.standby.resume()
                seconds_until_results_go_on(now)
            eventually(now.all_settled, within=120)
            assert [replica.drain() for replica in replicas] == [0, 0]

        assert len(now.rows()) == len(now.published()) == load.submitted
        assert now.letters() == []
        assert_invariants(now, *(replica.tally for replica in replicas))
