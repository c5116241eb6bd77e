"""Servers for the suite; every test gets streams and a database of its own."""

import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, settings

from local import LocalPostgres, LocalRedis
from tests.builders import logging_restored
from tests.harness import Deployment, Servers, eventually
from tests.least import Roles, admitted, wanted
from tests.origins import named
from tests.processes import heard
from tests.scratch import in_memory
from tests.servers import Choice, choose, started
from worker.bootstrap.commands import migrate
from worker.consumer import retention
from worker.stream import OrderStream

# How long an input may take says more about what else the machine does.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

CHOICE = pytest.StashKey[Choice]()
UNIT = Path(__file__).parent / "unit"
MOST_THREADS = 50


def pytest_configure(config: pytest.Config) -> None:
    memory = in_memory()
    if memory is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))
    try:
        wanted()
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    if needs_servers(config) and not (config.option.help or config.option.collectonly):
        config.stash[CHOICE] = chosen(config)


def needs_servers(config: pytest.Config) -> bool:
    """Whether more than unit tests are asked for: those need no servers, so no engine is asked for images."""
    return not all(Path(each.partition("::")[0]).absolute().is_relative_to(UNIT) for each in config.args)


def chosen(config: pytest.Config) -> Choice:
    """Return where servers come from; a process of pytest-xdist is told by the one that started it."""
    told = getattr(config, "workerinput", {}).get("servers")
    try:
        return Choice(*told) if told else choose(os.environ)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of pytest-xdist."""
    if CHOICE in node.config.stash:
        node.workerinput["servers"] = astuple(node.config.stash[CHOICE])


def pytest_report_header(config: pytest.Config) -> list[str]:
    if CHOICE not in config.stash:
        return []
    return [*named(config.stash[CHOICE]), *(["what is tested has least rights"] if wanted() else [])]


@pytest.fixture(autouse=True)
def few_threads_are_left() -> Iterator[None]:
    """Hundreds that wake up now and then would slow down whatever is tested after them."""
    yield
    eventually(lambda: threading.active_count() <= MOST_THREADS)


@pytest.fixture(autouse=True)
def interrupts_are_heard() -> Iterator[None]:
    """Have processes under test begin with a SIGINT that is not ignored.

    It is ignored where the tests are a background job of a shell.
    """
    with heard(signal.SIGINT, signal.default_int_handler):
        yield


@pytest.fixture(autouse=True)
def logging_is_as_it_was() -> Iterator[None]:
    """Let no test that runs a command, which configures logs, decide what those after it see."""
    with logging_restored():
        yield


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Redis and PostgreSQL for the whole run."""
    choice = pytestconfig.stash.get(CHOICE, None) or chosen(pytestconfig)
    with started(choice.kind, tmp_path_factory.mktemp("servers")) as found:
        yield found


@pytest.fixture(scope="session")
def roles(servers: Servers) -> Iterator[Roles | None]:
    """The roles of PostgreSQL that have no more rights than they need, where RIGHTS asks for them."""
    if not wanted():
        yield None
        return
    with Roles.made(servers) as made:
        yield made


@pytest.fixture(scope="session")
def template_database(servers: Servers, roles: Roles | None) -> Iterator[str]:
    """A migrated database that every test's own is copied from."""
    name = f"template_{uuid.uuid4().hex}"
    _execute(servers, f'CREATE DATABASE "{name}"')
    # A session that a pooler keeps would be in the way of copies.
    with Deployment(replace(servers, database_way=""), "template", name) as made, admitted(made, roles):
        migrate(made.settings("migrate"))
    yield name
    _execute(servers, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def entrance(servers: Servers, request: pytest.FixtureRequest) -> Servers:
    """The servers as what is tested enters them: past the pooler where the test is not for one."""
    past = request.node.get_closest_marker("past_the_pooler")
    return replace(servers, database_way="") if past else servers


@pytest.fixture
def deployment(entrance: Servers, template_database: str, roles: Roles | None) -> Iterator[Deployment]:
    """Streams and a migrated database that nobody else uses."""
    with migrated(entrance, template_database) as made, admitted(made, roles):
        yield made


@pytest.fixture
def fleets(deployment: Deployment, roles: Roles | None) -> Iterator[tuple[Deployment, Deployment]]:
    """Two fleets with streams of their own, and one database."""
    with (
        Deployment(deployment.servers, f"{deployment.name}-second", deployment.database_name) as second,
        admitted(second, roles),
    ):
        yield deployment, second


@pytest.fixture
def empty_database(
    entrance: Servers, roles: Roles | None, request: pytest.FixtureRequest
) -> Iterator[Deployment]:
    """A database without any table, where the tests are who migrates, or else an administrator."""
    name = f"e{uuid.uuid4().hex[:12]}"
    _execute(entrance, f'CREATE DATABASE "{name}"')
    entered = entrance
    if roles is not None and not request.node.get_closest_marker("as_administrator"):
        with Deployment(entrance, name, name) as made:
            roles.give(made)
        entered = roles.as_owner()
    with Deployment(entered, name, name) as made:
        yield made
    _clean(entrance, name)


@pytest.fixture
def marks_go_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have replicas of this process drop marks as soon as their entries can't come back."""
    defaults = OrderStream.__init__.__kwdefaults__ or {}
    monkeypatch.setattr(OrderStream.__init__, "__kwdefaults__", {**defaults, "marks_stay_ms": 0})


@pytest.fixture
def retention_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have replicas of this process let go what they may without waiting for their turn."""
    monkeypatch.setattr(retention, "EVERY_S", 0.05)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[LocalRedis]:
    """A Redis that the test may stop, kill and start again."""
    server = LocalRedis(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[LocalPostgres]:
    """A PostgreSQL that the test may stop, kill and start again."""
    server = LocalPostgres(tmp_path / "postgres")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_deployment(own_redis: LocalRedis, own_postgres: LocalPostgres) -> Iterator[Deployment]:
    """A migrated deployment on servers that the test may stop, kill and start again."""
    with Deployment(Servers(own_redis.url, own_postgres.url), "own", "postgres") as made:
        migrate(made.settings())
        yield made


@contextmanager
def migrated(servers: Servers, template_database: str) -> Iterator[Deployment]:
    """Make streams and a migrated database that nobody else uses."""
    name = f"t{uuid.uuid4().hex[:12]}"
    _execute(servers, f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"')
    with Deployment(servers, name, name) as made:
        yield made
    _clean(servers, name)


def _execute(servers: Servers, statement: str) -> None:
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(statement.encode())


def _clean(servers: Servers, name: str) -> None:
    with redis.Redis.from_url(servers.redis_url) as client:
        keys = list(client.scan_iter(match=f"*{name}*"))
        if keys:
            client.delete(*keys)
    _execute(servers, f'DROP DATABASE "{name}" WITH (FORCE)')
