"""A name that leads to a server, and to another one later.

The first lives on, keeps its connections and takes no writes.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import redis

from local import LocalPostgres, LocalRedis
from local.directory import make_directory, write_secret
from local.standby import standby_of
from tests.faults.framing import PostgresWire, Resp
from tests.faults.proxy import Proxy
from tests.harness import Deployment, eventually
from tests.processes import WorkerProcess
from tests.replication import REPLAYED, WRITTEN, answer, await_copies, client, configure, cut_off

LOOPBACK = "127.0.0.1"
NAMED = "orders-worker-"
PATIENCE_S = 30.0

# The same streams and tables, at other addresses.
Place: TypeAlias = Callable[[str, str], Deployment]


def through(url: str, port: int) -> str:
    """Return the URL with another port."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{LOOPBACK}:{port}"))


@dataclass
class MovingRedis:
    """A primary behind a name. `move` promotes a replica that has everything, and leads the name there."""

    primary: LocalRedis
    folder: Path
    name: Proxy
    moves: int = 0

    @classmethod
    @contextmanager
    def made(cls, primary: LocalRedis, folder: Path) -> Iterator["MovingRedis"]:
        """Give the server a name; stop at the end whatever was promoted."""
        with Proxy((LOOPBACK, primary.port), Resp) as name:
            moving = cls(primary, folder, name)
            try:
                yield moving
            finally:
                moving.primary.stop()

    @property
    def url(self) -> str:
        """The URL with the name."""
        return through(self.primary.url, self.name.port)

    def demote(self, kind: Callable[[Path, Mapping[str, str]], LocalRedis] = LocalRedis) -> LocalRedis:
        """Let a replica have everything, make the primary a replica of nobody; return the one that has it."""
        self.moves += 1
        replica = kind(self.folder / f"redis-{self.moves}", {"masterauth": self.primary.password})
        make_directory(replica.directory)
        # The name goes on, and so does its password.
        write_secret(replica.directory / "password", self.primary.password)
        replica.start()
        with self._client(self.primary) as old, self._client(replica) as new:
            new.replicaof(LOOPBACK, str(self.primary.port))
            eventually(lambda: new.info("replication")["master_link_status"] == "up")
            old.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
            eventually(
                lambda: self._offset(new, "slave_repl_offset") == self._offset(old, "master_repl_offset")
            )
            new.replicaof("NO", "ONE")
            old.replicaof(LOOPBACK, "1")
            old.execute_command("CLIENT", "UNPAUSE")
        return replica

    def lead_to(self, promoted: LocalRedis) -> LocalRedis:
        """Lead the name there, and return the server that it has led to."""
        left, self.primary = self.primary, promoted
        self.name.lead_to((LOOPBACK, promoted.port))
        return left

    def await_no_connection(self, server: LocalRedis) -> None:
        """Return when no worker is connected to a server."""
        with self._client(server) as client:
            eventually(lambda: not any(each["name"].startswith(NAMED) for each in client.client_list()))

    @staticmethod
    def _client(server: LocalRedis) -> "redis.Redis":
        return redis.Redis.from_url(server.url, decode_responses=True)

    @staticmethod
    def _offset(client: Any, name: str) -> int:
        return int(client.info("replication")[name])


@dataclass
class MovingPostgres:
    """The same with a standby. The primary of before is made read-only for all sessions, and lives on."""

    primary: LocalPostgres
    folder: Path
    name: Proxy
    moves: int = 0

    @classmethod
    @contextmanager
    def made(cls, primary: LocalPostgres, folder: Path) -> Iterator["MovingPostgres"]:
        """Give the server a name; stop at the end whatever was promoted."""
        with Proxy((LOOPBACK, primary.port), PostgresWire) as name:
            moving = cls(primary, folder, name)
            try:
                yield moving
            finally:
                moving.primary.stop()

    @property
    def url(self) -> str:
        """The URL with the name."""
        return through(self.primary.url, self.name.port)

    def demote(self) -> LocalPostgres:
        """Let a standby have everything, and make the primary read-only; return the standby, promoted."""
        standby = self._standby()
        with client(self.primary) as old:
            configure(old, default_transaction_read_only="on")
        # Nobody is let in before all that are in have been told.
        eventually(self._lets_in_readers_alone)
        with client(self.primary) as old, client(standby) as new:
            told_at = answer(old, "SELECT clock_timestamp()")
            # A transaction that began before may still write, though it has written nothing yet; the loop's
            # next one says 25006.
            eventually(lambda: answer(old, _BEGUN_BEFORE, told_at) == 0)
            eventually(lambda: answer(old, WRITTEN) == answer(new, REPLAYED))
            new.execute("SELECT pg_promote()")
        return standby

    def fall_behind(self) -> LocalPostgres:
        """Return a standby that has what was committed up to now, and gets no more.

        This is asynchronous replication that lags.
        """
        standby = self._standby()
        await_copies(self.primary, standby)
        cut_off(standby)
        return standby

    def fail_over_to(self, standby: LocalPostgres) -> None:
        """Lose the primary, lead the name to the standby, and promote that."""
        # First: there must be somebody to connect to behind the name.
        self.lead_to(standby).kill()
        with client(standby) as new:
            new.execute("SELECT pg_promote()")

    def lead_to(self, promoted: LocalPostgres) -> LocalPostgres:
        """Lead the name there, and return the server that it has led to."""
        left, self.primary = self.primary, promoted
        self.name.lead_to((LOOPBACK, promoted.port))
        return left

    def await_no_connection(self, server: LocalPostgres) -> None:
        """Return when no worker is connected to a server."""
        with client(server) as looking:
            eventually(lambda: answer(looking, _CONNECTED) == 0)

    def _lets_in_readers_alone(self) -> bool:
        with client(self.primary) as late:
            return bool(answer(late, "SHOW default_transaction_read_only") == "on")

    def _standby(self) -> LocalPostgres:
        self.moves += 1
        return standby_of(self.primary, self.folder / f"postgres-{self.moves}")


_BEGUN_BEFORE = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start <= %s"
)
_CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'orders-worker-%'"


def is_ready(replica: WorkerProcess) -> bool:
    return replica.get("/ready")[0] == 200


def seconds_until_results_go_on(here: Deployment) -> float:
    began, before = time.monotonic(), here.redis.xlen(here.results)
    eventually(lambda: here.redis.xlen(here.results) > before, within=PATIENCE_S)
    return time.monotonic() - began
