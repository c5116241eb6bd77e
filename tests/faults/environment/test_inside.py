"""What goes wrong in a replica's own process: names do not resolve, clocks step, threads die."""

import importlib
import socket
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults.environment.site import Gate, Site
from tests.faults.environment.trial import (
    LONG_LEASE,
    ORDERS,
    assert_as_if_nothing_had_happened,
    page,
    recovering,
    waits_for,
)
from tests.harness import eventually, numbered_orders
from tests.inprocess import running
from worker.ops import health

# Its name leads to the function of the same name.
composition = importlib.import_module("worker.bootstrap.replica")
STEPS_S = (3600, -3600, 2 * 86_400, -2 * 86_400)


def test_name_that_does_not_resolve_any_more_is_an_outage(site: Site) -> None:
    def unknown(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with running(site.workers, **LONG_LEASE) as made:
        eventually(lambda: page(made, "/ready")[0] == 200)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", unknown)
            site.cut_redis()
            site.deployment.submit(numbered_orders(ORDERS))
            eventually(lambda: waits_for(made, "name resolution"))
        with recovering("process: names do not resolve") as until:
            until(site.deployment.all_settled)

    assert_as_if_nothing_had_happened(site, made)


class Clock:
    """The wall clock of this process, to be stepped."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.ahead_s = 0
        real_ns, real = time.time_ns, time.time
        patch.setattr(time, "time_ns", lambda: real_ns() + self.ahead_s * 1_000_000_000)
        patch.setattr(time, "time", lambda: real() + self.ahead_s)
        dates = SimpleNamespace(now=lambda zone: datetime.fromtimestamp(real() + self.ahead_s, zone))
        patch.setattr(composition, "datetime", dates)


@pytest.mark.parametrize("step_s", STEPS_S)
def test_step_of_the_wall_clock_changes_nothing_but_timestamps(
    site: Site, monkeypatch: pytest.MonkeyPatch, step_s: int
) -> None:
    clock = Clock(monkeypatch)
    site.deployment.submit(numbered_orders(ORDERS))
    gate = Gate(committed=True)
    began = datetime.now(UTC)

    with running(site.workers, wrap_store=gate.wrap_store, **LONG_LEASE) as made:
        gate.await_somebody()
        clock.ahead_s = step_s
        gate.open()
        eventually(site.deployment.all_settled)
        clock.ahead_s = 0
        with recovering(f"process: wall clock steps by {step_s} s") as until:
            site.deployment.submit(numbered_orders(ORDERS + 5)[ORDERS:])
            until(lambda: len(site.deployment.published()) == ORDERS + 5)
        eventually(site.deployment.all_settled)

    assert made.worker.tally.outages == 0
    executed = {row.executed_at for row in site.deployment.rows().values()}
    assert any(abs(at - began - timedelta(seconds=step_s)) < timedelta(minutes=5) for at in executed)
    assert_as_if_nothing_had_happened(site, made, orders=ORDERS + 5)


def test_orders_go_on_when_the_thread_that_answers_http_has_died(site: Site) -> None:
    with running(site.workers, **LONG_LEASE) as made:
        eventually(lambda: page(made, "/health")[0] == 200)
        made.server.stop()
        with pytest.raises(OSError, match="refused"):
            page(made, "/health")
        with recovering("process: HTTP thread dead") as until:
            site.deployment.submit(numbered_orders(ORDERS))
            until(site.deployment.all_settled)

    assert_as_if_nothing_had_happened(site, made)


def test_replica_is_not_ready_and_works_on_when_the_threads_that_ask_the_servers_have_died(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "STALE_AFTER_S", 0.3)
    with running(site.workers, **LONG_LEASE) as made:
        made.checks.stop()
        eventually(lambda: page(made, "/ready")[0] == 503)
        assert page(made, "/health")[0] == 200
        with recovering("process: check threads dead") as until:
            site.deployment.submit(numbered_orders(ORDERS))
            until(site.deployment.all_settled)

    assert_as_if_nothing_had_happened(site, made)
