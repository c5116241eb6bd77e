"""Opens the servers that the settings name, each connection under the name of its purpose."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from worker.settings import Settings, read_settings
from worker.store import Database
from worker.stream import RedisLink, RedisNames

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


@contextmanager
def redis_link(settings: Settings, purpose: str) -> Iterator[RedisLink]:
    """Open connections to Redis for a purpose, which their client name tells."""
    link = RedisLink(
        settings.redis_url.get_secret_value(),
        block_ms=settings.block_ms,
        client_name=f"orders-worker-{purpose}",
    )
    try:
        yield link
    finally:
        link.close()


@contextmanager
def database(settings: Settings, purpose: str, connections: int = 1) -> Iterator[Database]:
    """Open a pool of connections to PostgreSQL for a purpose, which their application name tells."""
    opened = Database(
        settings.database_url.get_secret_value(),
        transaction_timeout_s=settings.transaction_timeout_s,
        pool_size=connections,
        application_name=f"orders-worker-{purpose}",
    )
    try:
        yield opened
    finally:
        opened.close()


def database_from_environment() -> Database:
    """Return the database that the environment names, for alembic's own command line."""
    settings = read_settings(os.environ)
    return Database(
        settings.database_url.get_secret_value(),
        transaction_timeout_s=settings.transaction_timeout_s,
        pool_size=MIGRATION_CONNECTIONS,
        application_name="orders-worker-alembic",
    )
