"""Servers of this package's own, and on them a site for each row."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import LocalPostgres, LocalRedis
from tests.commands import command
from tests.faults.environment.documented import Documented
from tests.faults.environment.lending import PostgresLender, RedisLender
from tests.faults.environment.site import Site


@pytest.fixture(scope="package")
def redis_lender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisLender]:
    """Whoever has a Redis for each row."""
    lender = RedisLender(tmp_path_factory.mktemp("environment") / "redis")
    yield lender
    lender.end()


@pytest.fixture(scope="package")
def postgres_lender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresLender]:
    """Whoever has a PostgreSQL for each row."""
    lender = PostgresLender(tmp_path_factory.mktemp("environment") / "postgres")
    yield lender
    lender.end()


@pytest.fixture
def redis_server(redis_lender: RedisLender) -> Iterator[LocalRedis]:
    """A Redis that a row may refuse, fill, stop and kill."""
    with redis_lender.lend() as server:
        yield server


@pytest.fixture
def postgres_server(postgres_lender: PostgresLender) -> Iterator[LocalPostgres]:
    """A PostgreSQL of the same kind, with a migrated database to copy."""
    with postgres_lender.lend() as server:
        yield server


@pytest.fixture
def site(redis_server: LocalRedis, postgres_server: LocalPostgres, tmp_path: Path) -> Iterator[Site]:
    """Streams and a migrated database of one row, where the worker is no superuser."""
    name = f"s{uuid.uuid4().hex[:10]}"
    with Site.made(name, redis_server, postgres_server, tmp_path) as made:
        yield made


@pytest.fixture
def documented(redis_server: LocalRedis, postgres_server: LocalPostgres) -> Iterator[Documented]:
    """Users and roles as deploy/ makes them, and no tables yet."""
    with Documented.made(redis_server, postgres_server) as made:
        yield made


@pytest.fixture
def migrated(documented: Documented) -> Documented:
    """The same, with the tables."""
    with documented.entered("nobody", "orders_migrate") as migrate:
        assert command(migrate, "migrate").exit_code == 0
    documented.grant_tables()
    return documented
