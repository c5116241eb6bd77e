"""The way to Redis or PostgreSQL is cut before or after each single message in turn.

Without CHAOS it is every other message or burst.
"""

from collections.abc import Callable
from typing import TypeAlias

import pytest

from tests.faults.proxy import Plan
from tests.faults.reporting import record
from tests.faults.trials import SERVERS, SHORT_LEASES, Trials, in_turn
from tests.harness import Deployment
from worker.consumer import loop

# How many messages, and bursts of them, there are at least before and after which the connection can be cut.
LEAST = {"REDIS_URL": 16, "DATABASE_URL": 24}
LEAST_AT_START = {"REDIS_URL": 60, "DATABASE_URL": 60}

Report: TypeAlias = Callable[[int], None]

pytestmark = pytest.mark.timeout(900)
each_server = pytest.mark.parametrize("server", SERVERS)
each_moment = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "FIRST_WAIT_S", 0.005)
    monkeypatch.setattr(loop, "LONGEST_WAIT_S", 0.02)


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Takes how many runs were struck."""
    return lambda runs: record("nth_cut", request.node.name, faults=runs)


@each_moment
@each_server
def test_nothing_is_lost_doubled_or_left_to_its_lease_when_the_connection_is_cut_once(
    deployment: Deployment, server: str, *, after: bool, report: Report
) -> None:
    trials = Trials(deployment, server, abandoned=2)

    report(in_turn(lambda n: trials.run(Plan(n, after)), least=LEAST[server], step=2))


@each_moment
def test_nothing_is_lost_or_doubled_when_redis_is_cut_off_with_abandoned_entries_about(
    deployment: Deployment, *, after: bool, report: Report
) -> None:
    trials = Trials(deployment, "REDIS_URL", SHORT_LEASES)

    report(in_turn(lambda n: trials.run(Plan(n, after)), least=16, step=2))


@each_moment
@each_server
def test_nothing_is_lost_or_doubled_when_the_connection_is_cut_at_the_start(
    deployment: Deployment, server: str, *, after: bool, report: Report
) -> None:
    trials = Trials(deployment, server, SHORT_LEASES)

    report(
        in_turn(lambda n: trials.run(Plan(n, after), at_start=True), least=LEAST_AT_START[server], step=13)
    )
