"""Servers for the suite; every test gets streams and a database of its own."""

import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from tests.harness import Deployment, Servers, eventually
from tests.scratch import in_memory
from tests.servers import KINDS, chosen_kind, postgres_version, redis_version, started
from worker.bootstrap.commands import migrate
from worker.local import LocalPostgres, LocalRedis

VERSIONS = pytest.StashKey[str]()
MOST_THREADS = 50


def pytest_configure() -> None:
    memory = in_memory()
    if memory is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


def pytest_report_header() -> str:
    return f"servers: {chosen_kind(os.environ)} (SERVERS={'|'.join(KINDS)} forces one)"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if VERSIONS in config.stash:
        terminalreporter.write_line(f"servers: {config.stash[VERSIONS]}")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Remember what a process of pytest-xdist has run on."""
    if "versions" in getattr(node, "workeroutput", {}):
        node.config.stash[VERSIONS] = node.workeroutput["versions"]


@pytest.fixture(autouse=True)
def few_threads_are_left() -> Iterator[None]:
    """Hundreds that wake up now and then would slow down whatever is tested after them."""
    yield
    eventually(lambda: threading.active_count() <= MOST_THREADS)


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Redis and PostgreSQL for the whole run."""
    kind = chosen_kind(os.environ)
    with started(kind, tmp_path_factory.mktemp("servers")) as found:
        versions = f"{redis_version(found)}, {postgres_version(found)} ({kind})"
        pytestconfig.stash[VERSIONS] = versions
        # Read by the process that the tests are spread from, where there is one.
        getattr(pytestconfig, "workeroutput", {})["versions"] = versions
        yield found


@pytest.fixture(scope="session")
def template_database(servers: Servers) -> Iterator[str]:
    """A migrated database that every test's own is copied from."""
    name = f"template_{uuid.uuid4().hex}"
    _execute(servers, f'CREATE DATABASE "{name}"')
    migrate(Deployment(servers, "template", name).settings())
    yield name
    _execute(servers, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def deployment(servers: Servers, template_database: str) -> Iterator[Deployment]:
    """Streams and a migrated database that nobody else uses."""
    name = f"t{uuid.uuid4().hex[:12]}"
    _execute(servers, f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"')
    with Deployment(servers, name, name) as made:
        yield made
    with redis.Redis.from_url(servers.redis_url) as client:
        keys = list(client.scan_iter(match=f"{name}*"))
        if keys:
            client.delete(*keys)
    _execute(servers, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def empty_database(servers: Servers) -> Iterator[Deployment]:
    """A database without any table."""
    name = f"e{uuid.uuid4().hex[:12]}"
    _execute(servers, f'CREATE DATABASE "{name}"')
    with Deployment(servers, name, name) as made:
        yield made
    _execute(servers, f'DROP DATABASE "{name}" WITH (FORCE)')


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


def _execute(servers: Servers, statement: str) -> None:
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(statement.encode())
