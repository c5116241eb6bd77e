"""A place of PostgreSQL that takes no writes, or refuses a password, is left by every pool that shares it."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TypeAlias

import psycopg
import pytest

from tests.accounts import with_user
from tests.harness import Deployment
from worker.domain.endpoints import Endpoint
from worker.domain.errors import AccessDenied, Outage
from worker.store import Database

Open: TypeAlias = Callable[[Endpoint], Database]
READ_ONLY = "?options=-c%20default_transaction_read_only%3Don"


@pytest.fixture
def pool() -> Iterator[Open]:
    with ExitStack() as opened:

        def made(place: Endpoint) -> Database:
            database = Database(place, transaction_timeout_s=10, pool_size=1, application_name="test")
            opened.callback(database.close)
            return database

        yield made


@pytest.fixture
def role(deployment: Deployment) -> Iterator[str]:
    name = f"r{uuid.uuid4().hex[:10]}"
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'first'".encode())
        connection.execute(f"GRANT CONNECT ON DATABASE {deployment.database_name} TO {name}".encode())
        yield name
        connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


def test_every_pool_connects_anew_when_a_write_meets_a_read_only_session(
    deployment: Deployment, pool: Open
) -> None:
    urls = [deployment.database_url + READ_ONLY]
    place = Endpoint(lambda: urls[-1])
    loop, checks = pool(place), pool(place)
    checks.ping()
    with pytest.raises(Outage, match="25006"), loop.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM trades")
    urls.append(deployment.database_url)

    checks.require_writes()
    loop.require_writes()


def test_session_that_is_read_only_is_an_outage_before_anything_is_written(
    deployment: Deployment, pool: Open
) -> None:
    urls = [deployment.database_url + READ_ONLY]
    loop = pool(Endpoint(lambda: urls[-1]))

    with pytest.raises(Outage, match="25006"):
        loop.require_writes()
    urls.append(deployment.database_url)

    loop.require_writes()


def test_transaction_at_work_is_finished_when_its_place_is_left(deployment: Deployment, pool: Open) -> None:
    place = Endpoint.fixed(deployment.database_url)
    loop = pool(place)

    with loop.transaction() as connection:
        place.leave()
        (before,) = connection.exec_driver_sql("SELECT pg_backend_pid()").one()
    with loop.transaction() as connection:
        (after,) = connection.exec_driver_sql("SELECT pg_backend_pid()").one()

    assert before != after


def test_password_is_that_of_the_url_as_it_is_when_a_connection_is_made(
    deployment: Deployment, pool: Open, role: str
) -> None:
    urls = [with_user(deployment.database_url, role, "first")]
    place = Endpoint(lambda: urls[-1])
    loop, checks = pool(place), pool(place)
    loop.ping()
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {role} PASSWORD 'second'".encode())
    with pytest.raises(AccessDenied):
        checks.ping()
    urls.append(with_user(deployment.database_url, role, "second"))

    checks.ping()
    loop.ping()


def test_url_that_can_not_be_used_any_more_is_an_outage_that_ends_when_it_is_mended(
    deployment: Deployment, pool: Open
) -> None:
    urls = [deployment.database_url]
    place = Endpoint(lambda: urls[-1])
    loop = pool(place)
    loop.ping()
    urls.append("postgresql://me:secret@host?no_such_option=1")
    place.leave()

    with pytest.raises(Outage) as refused:
        loop.ping()
    urls.append(deployment.database_url)

    assert "secret" not in str(refused.value)
    loop.ping()
