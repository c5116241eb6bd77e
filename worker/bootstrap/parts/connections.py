"""Opens the servers that the settings name, each connection under the name of its purpose."""

import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from worker.bootstrap.parts import clocks
from worker.bootstrap.parts.credentials import credentials_of
from worker.domain.endpoints import Endpoint
from worker.domain.errors import ConfigurationError
from worker.settings import Settings, read_settings
from worker.settings.checks import Secret
from worker.store import Database, require_postgresql
from worker.stream import RedisLink, RedisNames, require_redis

log = structlog.get_logger(__name__)

# One holds the turn, one works, and one looks what is being waited for.
MIGRATION_CONNECTIONS = 3


def redis_names(settings: Settings) -> RedisNames:
    """Return the keys in use, and a consumer name that no other replica has or had."""
    unique = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    return RedisNames(
        orders=settings.orders_stream,
        results=settings.results_stream,
        dead_letters=settings.dead_letter_stream,
        source=settings.fleet.source,
        group=settings.group,
        consumer=f"{settings.consumer}-{unique}",
    )


def redis_place(settings: Settings) -> Endpoint:
    """Return the place of Redis. Whoever shares it leaves it together. Raises ConfigurationError."""
    return _place(settings, settings.redis_url)


def database_place(settings: Settings) -> Endpoint:
    """Likewise return the place of PostgreSQL."""
    return _place(settings, settings.database_url)


def _place(settings: Settings, secret: Secret) -> Endpoint:
    return Endpoint(
        _url_of(secret),
        credentials=credentials_of(settings),
        renew_after_s=settings.renew_connections_after_s,
        clock=clocks.passed,
    )


def endpoint(secret: Secret) -> Endpoint:
    """Return the place that a URL alone names."""
    return Endpoint(_url_of(secret))


def _url_of(secret: Secret) -> Callable[[], str]:
    def url() -> str:
        try:
            secret.read_again()
        except ConfigurationError as fault:
            # What was good the last time may be good still; where it is not, the server says so.
            log.warning("could not read a secret again", fault=str(fault))
        return secret.get_secret_value()

    return url


@contextmanager
def redis_link(settings: Settings, purpose: str, place: Endpoint | None = None) -> Iterator[RedisLink]:
    """Open connections to Redis for a purpose, which their client name tells, at a place others may share."""
    link = RedisLink(
        place or redis_place(settings),
        block_ms=settings.block_ms,
        client_name=f"orders-worker-{purpose}",
        a_key=settings.orders_stream,
    )
    try:
        yield link
    finally:
        link.close()


@contextmanager
def answering_redis(settings: Settings, purpose: str) -> Iterator[RedisLink]:
    """Open connections to a Redis that answers now.

    Raises Outage where it does not, and ConfigurationError, with the way out, where no waiting would end
    that.
    """
    with redis_link(settings, purpose) as link:
        require_redis(link)
        yield link


@contextmanager
def database(
    settings: Settings, purpose: str, connections: int = 1, place: Endpoint | None = None
) -> Iterator[Database]:
    """Likewise open a pool of connections to PostgreSQL for a purpose, which their application name tells."""
    opened = Database(
        place or database_place(settings),
        transaction_timeout_s=settings.transaction_timeout_s,
        pool_size=connections,
        application_name=f"orders-worker-{purpose}",
    )
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def answering_database(settings: Settings, purpose: str) -> Iterator[Database]:
    """Open a connection to a PostgreSQL that answers now.

    Raises Outage where it does not, and ConfigurationError, with the way out, where no waiting would end
    that.
    """
    with database(settings, purpose) as opened:
        require_postgresql(opened)
        yield opened


def database_from_environment() -> Database:
    """Return the database that the environment names, for alembic's own command line."""
    settings = read_settings(os.environ)
    return Database(
        database_place(settings),
        transaction_timeout_s=settings.transaction_timeout_s,
        pool_size=MIGRATION_CONNECTIONS,
        application_name="orders-worker-alembic",
    )
