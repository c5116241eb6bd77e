"""Servers of this package's own, and on them a site for each row."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.faults.environment.site import Site
from tests.harness import Deployment, Servers
from worker.bootstrap.commands import migrate
from worker.local import LocalPostgres, LocalRedis
from worker.local import redis as local_redis

HAS_TO_ALLOW_DEBUG = (7, 0)


@pytest.fixture(scope="package")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRedis]:
    """A Redis that rows may refuse, fill, stop and kill, as long as they heal it."""
    server = LocalRedis(tmp_path_factory.mktemp("environment") / "redis")
    with pytest.MonkeyPatch.context() as patch:
        if tuple(map(int, server.version.split(".")[:2])) >= HAS_TO_ALLOW_DEBUG:
            patch.setattr(local_redis, "CONFIG", local_redis.CONFIG + "enable-debug-command local\n")
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="package")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPostgres]:
    """A PostgreSQL of the same kind, with a migrated database to copy."""
    server = LocalPostgres(tmp_path_factory.mktemp("environment") / "postgres")
    server.start()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_of_all")
    with Deployment(Servers("redis://unused", server.url), "template", "template_of_all") as template:
        migrate(template.settings())
    yield server
    server.stop()


@pytest.fixture
def site(redis_server: LocalRedis, postgres_server: LocalPostgres, tmp_path: Path) -> Iterator[Site]:
    """Streams and a migrated database of one row, where the worker is no superuser."""
    name = f"s{uuid.uuid4().hex[:10]}"
    with Site.made(name, redis_server, postgres_server, tmp_path) as made:
        yield made
