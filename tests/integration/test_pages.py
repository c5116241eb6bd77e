"""Pages of a real replica: what they cost, and that they are there whatever the replica or its servers do."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg

from local import LocalPostgres, LocalRedis
from tests.harness import Deployment, eventually, numbered_orders
from tests.inprocess import committing, running
from tests.processes import workers
from tests.unit.test_server import ask

# So many rounds of questions are counted.
ROUNDS = 4


def page(port: int, path: str = "/") -> str:
    status, _, body = ask(port, path, headers={"Accept": "text/html"})
    assert status == 200
    return body.decode()


@contextmanager
def open_pages(port: int, count: int) -> Iterator[None]:
    """Have so many pages refresh themselves, twice as often as they do."""
    closed = Event()

    def refresh() -> None:
        while not closed.wait(1):
            page(port)

    pages = [Thread(target=refresh) for _ in range(count)]
    for each in pages:
        each.start()
    try:
        yield
    finally:
        closed.set()
        for each in pages:
            each.join()


def looks(deployment: Deployment) -> int:
    """Return how often dead letters were counted: by pages alone, once at each look."""
    stats: Any = deployment.redis.info("commandstats")
    return int(stats.get("cmdstat_xrevrange", {}).get("calls", 0))


def transactions(deployment: Deployment) -> int:
    with psycopg.connect(deployment.servers.database_url) as connection:
        found = connection.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = %s", [deployment.database_name]
        ).fetchone()
    return int(found[0]) if found else 0


def cost(deployment: Deployment, port: int, pages: int) -> tuple[float, float]:
    """Return the looks and the transactions a second while so many pages are open."""
    with open_pages(port, pages):
        # Not the first look, which nobody had asked for yet.
        first = looks(deployment)
        eventually(lambda: looks(deployment) > first, within=30)
        began, before, committed = time.monotonic(), looks(deployment), transactions(deployment)
        eventually(lambda: looks(deployment) >= before + ROUNDS, within=60)
        took_s = time.monotonic() - began
        return (looks(deployment) - before) / took_s, (transactions(deployment) - committed) / took_s


def test_fifty_open_pages_ask_the_servers_no_more_than_one(own_deployment: Deployment) -> None:
    with running(own_deployment) as made:
        eventually(lambda: made.checks.database.last.connected)

        one = cost(own_deployment, made.server.port, 1)
        fifty = cost(own_deployment, made.server.port, 50)

    # Each for itself they would ask fifty times as much; both are counted over a few seconds.
    assert fifty[0] < 2 * one[0], (one, fifty)
    assert fifty[1] < 3 * one[1] + 3, (one, fifty)


def askers(deployment: Deployment) -> set[str]:
    """Return the names of all that are connected to either server."""
    redis: Any = deployment.redis.client_list()
    with psycopg.connect(deployment.servers.database_url) as connection:
        found = connection.execute("SELECT application_name FROM pg_stat_activity").fetchall()
    return {each["name"] for each in redis} | {name for (name,) in found}


def test_nobody_is_asked_for_pages_that_nobody_looks_at(own_deployment: Deployment) -> None:
    with running(own_deployment) as made:
        eventually(lambda: made.checks.database.last.connected)
        unseen = askers(own_deployment)

        page(made.server.port)

        assert {"orders-worker-pages"} == askers(own_deployment) - unseen


def test_replica_that_hangs_between_commit_and_settle_still_has_pages(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(3))

    with committing(deployment) as (made, _):
        shown = page(made.server.port)

    assert "1 replica alive" in shown
    assert '<td data-label="In hand" class="number">3</td>' in shown


def test_page_tells_that_redis_is_away_and_comes_back(
    own_deployment: Deployment, own_redis: LocalRedis
) -> None:
    with running(own_deployment) as made:
        port = made.server.port
        eventually(lambda: "All well" in page(port))

        own_redis.stop()
        eventually(lambda: "Redis does not answer" in page(port), within=30)
        own_redis.start()

        eventually(lambda: "All well" in page(port), within=60)


def test_page_of_a_replica_whose_postgresql_hangs_is_there_within_seconds(
    own_deployment: Deployment, own_postgres: LocalPostgres
) -> None:
    with running(own_deployment) as made:
        port = made.server.port
        eventually(lambda: "All well" in page(port))
        own_postgres.pause()
        try:
            began = time.monotonic()
            asked = [Thread(target=page, args=(port,)) for _ in range(20)]
            for each in asked:
                each.start()
            health, _, _ = ask(port, "/health")
            health_s = time.monotonic() - began
            for each in asked:
                each.join()

            eventually(lambda: "PostgreSQL does not answer" in page(port), within=60)
        finally:
            own_postgres.resume()

    assert health == 200
    assert health_s < 10


def test_every_replica_is_shown_by_each_with_what_it_said_of_itself(
    deployment: Deployment, tmp_path: Path
) -> None:
    with workers(deployment, tmp_path, 2) as fleet:
        eventually(lambda: all(each.has_started for each in fleet))

        for each in fleet:
            eventually(lambda port=each.port: page(port).count('class="state state-running"') == 2)  # type: ignore[misc]

        for each in fleet:
            assert each.drain() == 0


def test_replica_that_was_killed_is_shown_as_gone_by_the_others(
    deployment: Deployment, tmp_path: Path
) -> None:
    lease: dict[str, Any] = {
        "lease_ms": 1200,
        "transaction_timeout_s": 1,
        "execute_timeout_s": 1,
        "block_ms": 200,
    }
    with workers(deployment, tmp_path, 2, **lease) as fleet:
        eventually(lambda: all(each.has_started for each in fleet))
        killed, other = fleet
        eventually(lambda: page(other.port).count('class="state state-running"') == 2)

        killed.end()

        # It is no consumer any more after ten leases.
        eventually(lambda: 'class="state state-gone"' in page(other.port), within=15)
        assert other.drain() == 0


def test_figures_of_the_hour_follow_the_orders(deployment: Deployment) -> None:
    with running(deployment) as made:
        port = made.server.port
        eventually(lambda: made.checks.redis.last.connected)
        deployment.submit(numbered_orders(300))
        eventually(deployment.all_settled)

        eventually(lambda: "results: now" in page(port) and "now 0.0 a second" not in page(port))
        eventually(lambda: "median: now not known" not in page(port))
