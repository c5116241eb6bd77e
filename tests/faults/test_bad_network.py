"""The way to Redis or PostgreSQL is cut for a while, is reset, swallows, delays or crumbles what passes."""

from collections.abc import Callable
from typing import TypeAlias

import pytest

from tests.faults.proxy import Harm, Plan
from tests.faults.reporting import record
from tests.faults.trials import SERVERS, SHORT_LEASES, Trials, in_turn
from tests.harness import Deployment
from worker.consumer import loop
from worker.stream.link import connection

LEASE_S = 0.25
LEAST = {"REDIS_URL": 16, "DATABASE_URL": 24}

Strike: TypeAlias = Callable[[Callable[[int], list[str]], tuple[int, int]], None]

pytestmark = pytest.mark.timeout(1800)
each_server = pytest.mark.parametrize("server", SERVERS)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "FIRST_WAIT_S", 0.005)
    monkeypatch.setattr(loop, "LONGEST_WAIT_S", 0.02)
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT_S", 0.15)


@pytest.fixture
def trials(deployment: Deployment, server: str) -> Trials:
    return Trials(deployment, server, SHORT_LEASES)


@pytest.fixture
def strike(server: str, request: pytest.FixtureRequest) -> Strike:
    """Strikes at every so manieth message in turn, for Redis and for PostgreSQL, and reports how often."""

    def strike(run: Callable[[int], list[str]], steps: tuple[int, int]) -> None:
        step = dict(zip(SERVERS, steps, strict=True))[server]
        record("bad_network", request.node.name, faults=in_turn(run, least=LEAST[server], step=step))

    return strike


@each_server
def test_nothing_is_lost_or_doubled_when_the_server_stays_away_for_a_while(
    trials: Trials, strike: Strike
) -> None:
    strike(lambda n: trials.run(Plan(n, refused=4)), (5, 17))


@each_server
def test_outages_cost_no_delivery_when_the_connection_is_cut_again_and_again(
    trials: Trials, strike: Strike
) -> None:
    strike(lambda n: trials.run(Plan(n, times=8)), (6, 23))


@each_server
def test_nothing_is_lost_or_doubled_when_the_connection_is_reset(trials: Trials, strike: Strike) -> None:
    strike(lambda n: trials.run(Plan(n, harm=Harm.RESET)), (3, 13))


@each_server
def test_nothing_is_lost_or_doubled_when_a_replica_never_gets_back_to_the_server(
    trials: Trials, strike: Strike
) -> None:
    strike(lambda n: trials.run_beside_another(Plan(n, refused=1_000_000), gives_up=True), (6, 19))


@each_server
def test_nothing_is_lost_or_doubled_when_everything_on_a_connection_vanishes(
    trials: Trials, strike: Strike
) -> None:
    strike(lambda n: trials.run(Plan(n, harm=Harm.VANISH)), (11, 17))


@each_server
def test_nothing_is_lost_or_doubled_when_it_arrives_after_others_have_taken_over(
    trials: Trials, strike: Strike
) -> None:
    strike(lambda n: trials.run_beside_another(Plan(n, harm=Harm.DELAY, delay_s=2 * LEASE_S)), (9, 29))


@each_server
def test_nothing_changes_when_everything_arrives_byte_by_byte(trials: Trials) -> None:
    assert trials.run(Plan(0), trickle=True) == []
