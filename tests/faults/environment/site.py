"""Where a row takes place: its own streams, database and users, and two servers that may be harmed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis

from local import LocalPostgres, LocalRedis
from tests.accounts import with_user
from tests.harness import Deployment, Servers, eventually

PASSWORD = "throw-away"
LOOP = "orders-worker-loop"


@dataclass
class Site:
    """`deployment` looks on as an administrator; `workers` is the same place as a replica enters it."""

    name: str
    redis_server: LocalRedis
    postgres_server: LocalPostgres
    deployment: Deployment
    workers: Deployment
    folder: Path

    @classmethod
    @contextmanager
    def made(
        cls, name: str, redis_server: LocalRedis, postgres_server: LocalPostgres, folder: Path
    ) -> Iterator[Self]:
        """Make the database, a role and a user that may do what the worker needs; drop all afterwards."""
        with psycopg.connect(postgres_server.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template_of_all".encode())
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'".encode())
            connection.execute(f"ALTER ROLE {name} SET deadlock_timeout = '200ms'".encode())
        here = Servers(redis_server.url, postgres_server.url)
        theirs = Servers(
            with_user(redis_server.url, name, PASSWORD), with_user(postgres_server.url, name, PASSWORD)
        )
        with Deployment(here, name, name) as deployment, Deployment(theirs, name, name) as workers:
            site = cls(name, redis_server, postgres_server, deployment, workers, folder)
            site.admit()
            site.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO " + name)
            yield site
            # Where this is refused, the server is discarded for it.
            with suppress(redis.RedisError):
                deployment.redis.flushall()
                deployment.redis.acl_deluser(name)
        with suppress(psycopg.Error), psycopg.connect(postgres_server.url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
            connection.execute(f"DROP ROLE {name}".encode())

    def admit(self) -> None:
        """Make the worker's user of Redis; it is gone whenever the server was."""
        self.acl("on", "resetpass", f">{PASSWORD}", "allkeys", "allchannels", "+@all")

    def acl(self, *rules: str) -> None:
        """Change what the worker's user of Redis may do."""
        self.command("ACL", "SETUSER", self.name, *rules)

    def command(self, *parts: str | int) -> Any:
        """Send Redis a command on the administrator's connection."""
        return self.deployment.redis.execute_command(*parts)  # type: ignore[no-untyped-call]

    def cut_redis(self) -> None:
        """Close every connection of the worker's user."""
        self.command("CLIENT", "KILL", "USER", self.name)

    @contextmanager
    def configured(self, **settings: str | int) -> Iterator[None]:
        """Change settings of Redis for a while; names have underscores here."""
        client = self.deployment.redis
        names = {name.replace("_", "-"): value for name, value in settings.items()}
        before = {name: str(client.config_get(name)[name]) for name in names}
        for name, value in names.items():
            client.config_set(name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                client.config_set(name, value)

    def sql(self, *statements: str) -> list[Any]:
        """Run statements as an administrator, each by itself; return the rows of the last one."""
        rows: list[Any] = []
        with psycopg.connect(self.deployment.database_url, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return rows

    @contextmanager
    def foreign_transaction(self) -> Iterator[psycopg.Connection[Any]]:
        """Somebody else's transaction, rolled back at the end."""
        with psycopg.connect(self.deployment.database_url) as connection:
            try:
                yield connection
            finally:
                connection.close()

    def backends(self, more: str = "") -> list[int]:
        """Return the process ids of what serves the loops of workers here."""
        served = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = "
        return [pid for (pid,) in self.sql(f"{served}'{LOOP}' {more}")]

    def waiting_for_a_lock(self) -> int:
        """Return, as soon as there is one, the loop's backend that waits for a lock."""
        eventually(lambda: self.backends("AND wait_event_type = 'Lock'"))
        (pid,) = self.backends("AND wait_event_type = 'Lock'")
        return pid

    def end_sessions(self) -> None:
        """End the worker's sessions at PostgreSQL, so that it has to connect anew."""
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_database()"
        self.sql(ended)

    def url_at(self, variable: str, host: str) -> dict[str, str]:
        """Return the environment's URL of a server with another host."""
        parts = urlsplit(self.workers.environment()[variable])
        account = parts.netloc.rpartition("@")[0]
        return {variable: urlunsplit(parts._replace(netloc=f"{account}@{host}:{parts.port}"))}

    def another_client(self) -> "redis.Redis":
        """Return a client with a connection of its own, for what blocks."""
        return redis.Redis.from_url(self.redis_server.url)


class Gate:
    """Where the loop waits until it may go on: with a batch in hand, before or after its commit."""

    def __init__(self, *, committed: bool) -> None:
        self._committed = committed
        self._reached = threading.Event()
        self._open = threading.Event()

    def wrap_store(self, inner: Any) -> Any:
        """Put the gate into a store."""
        return _GatedStore(inner, self, committed=self._committed)

    def pass_through(self) -> None:
        """Wait until it is open."""
        self._reached.set()
        assert self._open.wait(30)

    def await_somebody(self) -> None:
        """Return when the loop stands before the gate."""
        assert self._reached.wait(20)

    def open(self) -> None:
        """Let everybody pass from now on."""
        self._open.set()


class _GatedStore:
    def __init__(self, inner: Any, gate: Gate, *, committed: bool) -> None:
        self._inner = inner
        self._gate = gate
        self._committed = committed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def record(self, records: Any) -> Any:
        if not self._committed:
            self._gate.pass_through()
        standing = self._inner.record(records)
        if self._committed:
            self._gate.pass_through()
        return standing
