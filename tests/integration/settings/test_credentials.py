"""Who gives user and password, and how old a connection becomes."""

import json
import time
from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import psycopg
import pytest

from local.directory import free_port
from tests.accounts import users
from tests.commands import command
from tests.harness import Deployment, eventually, numbered_orders
from tests.inprocess import running
from tests.unit.test_server import ask
from worker.bootstrap.parts.connections import redis_link
from worker.bridge import Backlog, Bridge
from worker.domain.credentials import Server
from worker.stream import Channel

HERE = "tests.integration.settings.test_credentials"
PASSWORD = "as-given"

asked: list[Server] = []
user: list[str] = []
go_on = Event()


def given(server: Server) -> tuple[str, str]:
    """What WORKER_CREDENTIALS names here."""
    asked.append(server)
    return user[-1], PASSWORD


def in_vain(_server: Server) -> tuple[str, str]:
    """What can't get a password."""
    raise ConnectionError(PASSWORD)


def wrong(_server: Server) -> str:
    """What was written in a hurry."""
    return PASSWORD


def hanging(server: Server) -> tuple[str, str]:
    """What is asked while a service of tokens does not answer."""
    assert go_on.wait(60)
    return given(server)


@pytest.fixture
def account(deployment: Deployment) -> Iterator[str]:
    """A user that both servers know."""
    with users(deployment, PASSWORD):
        user.append(f"{deployment.name}_user")
        asked.clear()
        yield user[-1]


def sessions(deployment: Deployment, name: str) -> dict[str, int]:
    """The connections of a user: for Redis with id and age in seconds, for PostgreSQL likewise."""
    clients = deployment.redis.client_list()
    found = {f"redis {each['id']}": int(each["age"]) for each in clients if each["user"] == name}
    asking = "SELECT pid, extract(epoch FROM clock_timestamp() - backend_start) FROM pg_stat_activity"
    with psycopg.connect(deployment.database_url) as connection:
        rows = connection.execute(f"{asking} WHERE usename = '{name}'".encode()).fetchall()
    return found | {f"postgresql {pid}": int(age) for pid, age in rows}


@pytest.mark.past_the_pooler
@pytest.mark.effect_of(credentials=f"{HERE}:given")
def test_loop_and_checks_come_in_with_what_the_callback_gives(
    deployment: Deployment, account: str, tried: dict[str, Any]
) -> None:
    deployment.submit(numbered_orders(3))

    with running(deployment, **tried) as made:
        eventually(deployment.all_settled)
        eventually(lambda: made.checks.redis.last.told and made.checks.database.last.told)
        names = {each.partition(" ")[0] for each in sessions(deployment, account)}

    assert names == {"redis", "postgresql"}
    assert {server.kind for server in asked} == names


@pytest.mark.effect_of(credentials=f"{HERE}:given")
@pytest.mark.parametrize(
    ("arguments", "opened"),
    [
        (["migrate"], {"postgresql"}),
        (["status", "--json"], {"redis", "postgresql"}),
        (["audit"], {"redis", "postgresql"}),
        (["dead", "list"], {"redis"}),
        (["pending"], {"redis"}),
        (["replay", "--all", "--yes"], {"redis"}),
        (["show", "order-0"], {"redis", "postgresql"}),
        (["submit", "-"], {"redis"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("account")
def test_every_command_comes_in_with_what_the_callback_gives(
    deployment: Deployment, tried: dict[str, Any], arguments: list[str], opened: set[str]
) -> None:
    deployment.submit(numbered_orders(1))
    with running(deployment):
        eventually(deployment.all_settled)

    line = json.dumps(numbered_orders(1)[0])
    done = command(deployment, *arguments, given=line if "-" in arguments else None, **tried)

    assert done.exit_code in {0, 1}, done.stderr
    assert {server.kind for server in asked} == opened


@pytest.mark.effect_of(credentials=f"{HERE}:hanging")
def test_replica_is_alive_while_the_callback_hangs_and_goes_on_once_it_answers(
    deployment: Deployment, account: str, tried: dict[str, Any]
) -> None:
    go_on.set()
    # Less than what would pass if the callback were awaited.
    longer: dict[str, Any] = {"lease_ms": 7000, "max_deliveries": 3}
    with running(deployment, **longer, **tried) as made:
        deployment.submit(numbered_orders(3))
        eventually(deployment.all_settled)
        go_on.clear()
        deployment.redis.execute_command("CLIENT", "KILL", "USER", account)  # type: ignore[no-untyped-call]
        deployment.submit(numbered_orders(6)[3:])
        until, lively = time.monotonic() + 10, set()
        while time.monotonic() < until:
            lively.add(ask(made.server.port, "/health")[0])
            time.sleep(0.1)
        status, _, body = ask(made.server.port, "/ready")
        go_on.set()
        eventually(deployment.all_settled)

    assert lively == {200}
    assert status == 503
    assert b"WORKER_CREDENTIALS: has not returned within 3 s" in body
    assert len(deployment.published()) == 6


@pytest.mark.past_the_pooler
@pytest.mark.effect_of(connection_max_age_s=2.7)
def test_connections_of_both_servers_are_renewed_before_they_are_as_old_as_is_set(
    deployment: Deployment, account: str, tried: dict[str, Any]
) -> None:
    ever: dict[str, int] = {}
    ordinal = iter(numbered_orders(10_000))

    def work(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            deployment.submit([next(ordinal)])
            for name, age in sessions(deployment, account).items():
                ever[name] = max(age, ever.get(name, 0))
            time.sleep(0.05)

    with running(
        deployment, credentials=f"{HERE}:given", transaction_timeout_s=0.9, pages=False, **tried
    ) as made:
        work(8)
        eventually(deployment.all_settled)
        tally = made.worker.tally

    kinds = [name.partition(" ")[0] for name in ever]
    # Of the loop the blocking reader and what it settles with, and its rows; and of the checks.
    assert min(kinds.count("redis"), kinds.count("postgresql")) > 3 * 2
    # Redis tells between which seconds it is: what has begun at the end of one is a second older by that.
    assert max(ever.values()) < tried["connection_max_age_s"] + 1
    assert (tally.received, tally.outages) == (len(deployment.accepted), 0)


@pytest.mark.effect_of(credentials=f"{HERE}:in_vain")
def test_command_without_credentials_says_what_failed_and_no_secret(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    done = command(deployment, "audit", **tried)

    assert done.exit_code == 3
    assert "WORKER_CREDENTIALS: raised ConnectionError" in done.stderr
    assert PASSWORD not in done.output


@pytest.mark.effect_of(credentials=f"{HERE}:wrong")
@pytest.mark.parametrize("arguments", [("run",), ("migrate",), ("audit",)], ids=" ".join)
def test_callback_that_gives_no_user_and_password_ends_a_command(
    deployment: Deployment, tried: dict[str, Any], arguments: tuple[str, ...]
) -> None:
    done = command(deployment, *arguments, health_port=free_port(), **tried)

    assert done.exit_code == 78
    assert "WORKER_CREDENTIALS: must return user and password, two texts, not str" in done.stderr
    assert PASSWORD not in done.output


@pytest.mark.effect_of(credentials="no.such:name")
@pytest.mark.parametrize(
    "arguments",
    [("run",), ("migrate",), ("status",), ("audit",), ("dead", "list"), ("bridge", "--channel", "c")],
    ids=" ".join,
)
def test_callback_that_is_not_there_ends_a_command(
    deployment: Deployment, tried: dict[str, Any], arguments: tuple[str, ...]
) -> None:
    done = command(deployment, *arguments, **tried)

    assert done.exit_code == 78
    assert "WORKER_CREDENTIALS: 'no.such:name' can't be loaded: ModuleNotFoundError" in done.stderr


@pytest.mark.effect_of(connection_max_age_s=2.7)
def test_bridge_renews_its_subscription_and_misses_nothing(
    deployment: Deployment, tried: dict[str, Any]
) -> None:
    channel = deployment.key("legacy")
    settings = deployment.settings("bridge", transaction_timeout_s=0.9, **tried)
    ever: set[str] = set()
    published = 0

    with redis_link(settings, "bridge") as link:
        bridge = Bridge(Channel(link, channel, deployment.orders), Backlog(100_000_000), drain_s=10)
        thread = Thread(target=bridge.run, daemon=True)
        thread.start()
        eventually(lambda: bridge.hears)
        until = time.monotonic() + 7
        while time.monotonic() < until:
            deployment.redis.publish(channel, str(published))
            published += 1
            ever |= {each["id"] for each in deployment.redis.client_list(_type="pubsub")}
        bridge.leave()
        thread.join(timeout=20)

    added = [int(dict(fields)["payload"]) for _, fields in deployment.entries(deployment.orders)]
    assert added == list(range(published))
    assert len(ever) >= 3
    assert (bridge.account.gaps, bridge.account.lost) == (0, 0)
