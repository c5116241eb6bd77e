"""Users of both servers with passwords that a test chooses."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import redis
from psycopg import sql

from tests.harness import Deployment


def with_user(url: str, user: str, password: str) -> str:
    """Return a URL with another name and password, percent-encoded."""
    parts = urlsplit(url)
    return urlunsplit(
        parts._replace(netloc=f"{user}:{quote(password, safe='')}@{parts.netloc.rpartition('@')[2]}")
    )


@contextmanager
def users(deployment: Deployment, password: str) -> Iterator[dict[str, str]]:
    """Make a Redis user and a PostgreSQL role of one password; yield the URLs that name both."""
    name = f"{deployment.name}_user"
    everybody = {"keys": ["*"], "channels": ["*"], "commands": ["+@all"]}
    for node in deployment.servers.everywhere:
        with redis.Redis.from_url(node) as client:
            client.acl_setuser(name, enabled=True, passwords=[f"+{password}"], **everybody)
    with psycopg.connect(deployment.database_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN SUPERUSER PASSWORD {}").format(sql.Identifier(name), password)
        )
        try:
            yield {
                "REDIS_URL": with_user(deployment.servers.place, name, password),
                "DATABASE_URL": with_user(deployment.database_url, name, password),
            }
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
            for node in deployment.servers.everywhere:
                with redis.Redis.from_url(node) as client:
                    client.acl_deluser(name)
