"""PostgreSQL as two servers: a primary, and a standby that takes its place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from local import LocalPostgres
from local.standby import standby_of
from tests.harness import eventually

WRITTEN = "SELECT pg_current_wal_lsn()"
REPLAYED = "SELECT pg_last_wal_replay_lsn()"
_RECEIVERS = "SELECT count(*) FROM pg_stat_wal_receiver"
_STREAMING = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
_SYNCHRONOUS = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"


def client(server: LocalPostgres) -> psycopg.Connection[Any]:
    """Return a connection as an administrator."""
    return psycopg.connect(server.url, autocommit=True)


def answer(connection: psycopg.Connection[Any], question: str, *parameters: Any) -> Any:
    """Return the one value that a question is answered with, None without a row."""
    (found,) = connection.execute(question.encode(), parameters or None).fetchone() or (None,)
    return found


def await_copies(primary: LocalPostgres, standby: LocalPostgres) -> None:
    """Return when the standby has what the primary has, where nobody writes."""
    with client(primary) as old, client(standby) as new:
        eventually(lambda: answer(old, WRITTEN) == answer(new, REPLAYED))


def cut_off(standby: LocalPostgres) -> None:
    """Have a standby get no more of what is written: this is asynchronous replication that lags."""
    with client(standby) as new:
        configure(new, primary_conninfo="")
        eventually(lambda: answer(new, _RECEIVERS) == 0)


def configure(connection: psycopg.Connection[Any], **settings: str) -> None:
    """Change settings of a server, for all its sessions."""
    for name, value in settings.items():
        connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
    connection.execute("SELECT pg_reload_conf()")


class Pair:
    """A primary and its standby. Either may be the primary; both keep their ports.

    `synchronous`: whether the primary waits for the standby before it says that something is committed, and
    in which way (`on`, `remote_apply`); without, it waits for nobody.
    """

    def __init__(self, primary: LocalPostgres, folder: Path, synchronous: str = "") -> None:
        self.primary = primary
        self._folder = folder
        self._synchronous = synchronous
        self._made = 1
        with client(primary) as old:
            # What a standby that has lost its primary waits before it looks up again, and sees its promotion.
            configure(old, wal_retrieve_retry_interval="200ms")
        self.standby = standby_of(primary, folder / "postgres-1")
        self._ports = (primary.port, self.standby.port)
        self._follow()

    @property
    def url(self) -> str:
        """The URL that names both, in an order that never changes."""
        parts = urlsplit(self.primary.url)
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{hosts}"))

    def fail_over(self, lose: Callable[[LocalPostgres], None] = LocalPostgres.kill) -> None:
        """Lose the primary, and promote the standby, which then waits for nobody."""
        lose(self.primary)
        with client(self.standby) as new:
            configure(new, synchronous_standby_names="")
            new.execute("SELECT pg_promote()")
        self.primary, self.standby = self.standby, self.primary

    def restore(self) -> None:
        """Make what was lost a standby, at the port that it had."""
        self.standby.kill()
        self._made += 1
        self.standby = standby_of(
            self.primary, self._folder / f"postgres-{self._made}", port=self.standby.port
        )
        self._follow()

    def stop(self) -> None:
        """Stop both."""
        for server in (self.standby, self.primary):
            server.kill()

    def _follow(self) -> None:
        with client(self.primary) as old:
            eventually(lambda: answer(old, _STREAMING) == 1)
            if self._synchronous:
                configure(old, synchronous_standby_names="*", synchronous_commit=self._synchronous)
                eventually(lambda: answer(old, _SYNCHRONOUS) == 1)


@contextmanager
def paired(primary: LocalPostgres, folder: Path, synchronous: str = "") -> Iterator[Pair]:
    """Give a server a standby, and stop both in the end."""
    pair = Pair(primary, folder, synchronous)
    try:
        yield pair
    finally:
        pair.stop()
