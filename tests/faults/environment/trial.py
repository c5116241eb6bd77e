"""One row: a replica at work, a condition that strikes and heals, what is seen then and holds at the end."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.faults.environment.site import Gate, Site
from tests.faults.reporting import record
from tests.harness import assert_invariants, eventually, numbered_orders
from tests.inprocess import running
from worker.bootstrap.replica import Replica
from worker.stream.link import connection

ORDERS = 40
# Whatever is left to its lease is not settled in time.
LONG_LEASE: dict[str, Any] = {"lease_ms": 60_000, "max_deliveries": 3, "batch_size": 10}
# The longest back-off, and the work on two busy cores.
RECOVERS_WITHIN_S = 8.0

# What happens once the loop goes on, where the injection is more than a state that it meets.
Strike: TypeAlias = Callable[[], object] | None
Injection: TypeAlias = Callable[[Site], AbstractContextManager[Strike]]


@dataclass(frozen=True)
class Condition:
    """`inject` harms at its beginning and heals at its end.

    `shows` is what the loop waits for, empty where it does not. The loop meets the condition with a batch in
    hand, before or after that batch is committed.
    """

    name: str
    inject: Injection
    shows: str
    committed: bool
    answers_within_s: float = connection.ANSWER_TIMEOUT_S
    transaction_timeout_s: float = 3.0

    def __str__(self) -> str:
        return self.name


@contextmanager
def recovering(
    row: str, *, within: float = RECOVERS_WITHIN_S
) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Yield what waits until a condition holds again, in time, and records how long that has taken."""
    healed_at = time.monotonic()

    def until(condition: Callable[[], object]) -> None:
        eventually(condition, within=within)
        record("environment", row, recovery_s=round(time.monotonic() - healed_at, 3))

    yield until


def page(made: Replica, path: str) -> tuple[int, str]:
    """Ask the replica for a page."""
    try:
        with urlopen(f"http://127.0.0.1:{made.server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def waits_for(made: Replica, sign: str) -> bool:
    """Whether the loop waits out an outage that says so: a pattern, since servers differ in their words."""
    outage = made.worker.outage
    return outage is not None and re.search(sign, str(outage)) is not None


def assert_says_so(made: Replica, sign: str) -> None:
    """Assert that the loop waits for it, /ready says why, and nobody is told to restart the replica."""
    eventually(lambda: waits_for(made, sign))
    status, body = page(made, "/ready")
    assert status == 503
    assert f'"{made.worker.outage.server}: ' in body if made.worker.outage else True
    assert page(made, "/health")[0] == 200


def assert_as_if_nothing_had_happened(site: Site, made: Replica, *, orders: int = ORDERS) -> None:
    """Assert one row and one result per order, and that nobody was charged, buried or handed over."""
    assert_invariants(site.deployment, made.worker.tally)
    assert len(site.deployment.rows()) == len(site.deployment.published()) == orders
    assert site.deployment.letters() == []


def endure(site: Site, condition: Condition, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a replica meet the condition in the middle of its work, and live through it."""
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT_S", condition.answers_within_s)
    site.deployment.submit(numbered_orders(ORDERS))
    gate = Gate(committed=condition.committed)

    with running(
        site.workers,
        wrap_store=gate.wrap_store,
        transaction_timeout_s=condition.transaction_timeout_s,
        **LONG_LEASE,
    ) as made:
        try:
            gate.await_somebody()
            with condition.inject(site) as strike:
                gate.open()
                if strike is not None:
                    strike()
                if condition.shows:
                    assert_says_so(made, condition.shows)
        finally:
            gate.open()
        with recovering(condition.name) as until:
            until(site.deployment.all_settled)
        eventually(lambda: page(made, "/ready")[0] == 200)

    assert bool(made.worker.tally.outages) == bool(condition.shows)
    assert_as_if_nothing_had_happened(site, made)
