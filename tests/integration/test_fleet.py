"""What several replicas do together: none is left with all of the work, none does what one does for all."""

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.harness import Deployment, assert_invariants, eventually, numbered_orders, take_and_vanish
from tests.inprocess import running
from tests.processes import workers
from worker.bootstrap.parts import beside, questions
from worker.source import registration

LEASE = {"lease_ms": 4000, "transaction_timeout_s": 2, "execute_timeout_s": 1}
REPLICAS = 3


def test_what_a_dead_replica_left_is_shared_by_all(deployment: Deployment, tmp_path: Path) -> None:
    """Proves that whoever looks first leaves to others what is more than a batch."""
    ids = deployment.submit(numbered_orders(1500))
    take_and_vanish(deployment, len(ids))

    with workers(deployment, tmp_path, REPLICAS, paper_latency_ms=5, batch_size=20, **LEASE) as fleet:
        eventually(deployment.all_settled, within=60)
        for each in fleet:
            assert each.drain() == 0, each.said

    shares = [each.tally.received / len(ids) for each in fleet]
    # A third each, but for those that started later, or slept for a quarter of the lease when the last were
    # taken.
    assert min(shares) > 1 / 10, shares
    assert_invariants(deployment, *(each.tally for each in fleet))


def test_looks_at_abandoned_entries_do_not_grow_with_the_fleet(
    own_deployment: Deployment, tmp_path: Path
) -> None:
    def looks() -> int:
        stats: Any = own_deployment.redis.info("commandstats")
        return int(stats.get("cmdstat_xautoclaim", {}).get("calls", 0))

    with workers(own_deployment, tmp_path, REPLICAS, **LEASE) as fleet:
        eventually(lambda: all(each.has_started for each in fleet))
        began, before = time.monotonic(), looks()
        # Each looks once a second if nobody else does.
        eventually(lambda: looks() >= before + 8, within=60)
        took_s = time.monotonic() - began
        for each in fleet:
            assert each.drain() == 0, each.said

    # A turn is a fifth of the lease: three that look by themselves would have needed less than half of that.
    assert took_s > 8 * LEASE["lease_ms"] / 1000 / 5 * 0.8


def test_replica_that_has_nothing_to_do_lets_postgresql_sleep_where_that_is_set(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that nothing of a replica asks PostgreSQL anything then, and that an order wakes it up."""
    monkeypatch.setattr(questions, "IDLE_AFTER_S", 0.5)
    monkeypatch.setattr(registration, "EVERY_S", 0.5)
    monkeypatch.setattr(beside, "FRESH_S", 0.5)

    def last_asked() -> datetime:
        asked = "SELECT max(state_change) FROM pg_stat_activity WHERE datname = %s"
        with psycopg.connect(deployment.servers.database_url) as connection:
            found = connection.execute(asked, [deployment.database_name]).fetchone()
        assert found is not None
        at: datetime = found[0]
        return at

    with running(deployment, idle_check_s=0, repair_window_s=0) as made:
        eventually(lambda: made.checks.database.last.connected)
        eventually(lambda: made.worker.life.idle_s > 2)
        before, asked_redis = last_asked(), set[float]()

        def time_has_passed() -> bool:
            asked_redis.add(made.checks.redis.last.at)
            return len(asked_redis) == 6

        eventually(time_has_passed, within=60)
        meanwhile, connected = last_asked(), made.checks.database.last.connected
        deployment.submit(numbered_orders(1))
        eventually(deployment.all_settled)

    assert meanwhile == before
    assert connected
