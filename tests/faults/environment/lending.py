"""Servers that rows harm in turn: one that comes back other than it was lent is discarded for a new one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar, cast

import psycopg
import redis

from local import LocalPostgres, LocalRedis
from tests.harness import Deployment, Servers
from worker.bootstrap.commands import migrate

HAS_TO_ALLOW_DEBUG = (7, 0)
PATIENCE_S = 5

P = ParamSpec("P")
Y = TypeVar("Y")
S = TypeVar("S", LocalRedis, LocalPostgres)


class _Healing(AbstractContextManager[Y]):
    def __init__(self, course: Generator[Y, None, None]) -> None:
        self._course = course

    def __enter__(self) -> Y:
        return next(self._course)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in self._course:
            raise AssertionError("what harms has one yield")


def healing(harm: Callable[P, Iterator[Y]]) -> Callable[P, AbstractContextManager[Y]]:
    """Make a context manager of what harms, yields once and heals: it heals however the block has ended.

    Unlike those of contextlib it does not hear of an error of the block, and needs no `finally`.
    """

    @wraps(harm)
    def made(*args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[Y]:
        return _Healing(cast("Generator[Y, None, None]", harm(*args, **kwargs)))

    return made


class Lender(ABC, Generic[S]):
    """Lends one server after another's use; `lent` is the one that is used now."""

    def __init__(self, folder: Path) -> None:
        """Start the first one, with its files in the folder."""
        self._folder = folder
        self._made = 0
        self.lent: S
        self._start()

    @contextmanager
    def lend(self) -> Iterator[S]:
        """Yield the server. Raises AssertionError if it is other afterwards, having discarded it."""
        yield self.lent
        changed = self._changed()
        if changed:
            self.end()
            self._start()
            raise AssertionError(f"discarded {self.lent.name}, which the test has left changed: {changed}")

    def end(self) -> None:
        """End the server, whatever state it is in."""
        self.lent.kill()

    def _start(self) -> None:
        self._made += 1
        self.lent = self._new(self._folder / str(self._made))
        self._as_it_was = self._state()

    def _changed(self) -> str:
        try:
            now = self._state()
        except (redis.RedisError, psycopg.Error, OSError) as error:
            return str(error)
        return ", ".join(name for name, value in now.items() if value != self._as_it_was[name])

    @abstractmethod
    def _new(self, folder: Path) -> S:
        """Start a server like all others of this lender."""

    @abstractmethod
    def _state(self) -> Mapping[str, Any]:
        """Return all that may be harmed and is to be healed."""


class RedisLender(Lender[LocalRedis]):
    """Lends a Redis that obeys DEBUG, from wherever one is found."""

    def _new(self, folder: Path) -> LocalRedis:
        server = LocalRedis(folder)
        if tuple(map(int, server.version.split(".")[:2])) >= HAS_TO_ALLOW_DEBUG:
            server = LocalRedis(folder, {"enable-debug-command": "local"})
        server.start()
        return server

    def _state(self) -> Mapping[str, Any]:
        with redis.Redis.from_url(
            self.lent.url, socket_timeout=PATIENCE_S, retry=None, decode_responses=True
        ) as client:
            return {
                **client.config_get("*"),
                "role": client.info("replication")["role"],
                "users": client.acl_list(),
                "keys": client.dbsize(),
                "running": self.lent.is_running,
            }


class PostgresLender(Lender[LocalPostgres]):
    """Lends a PostgreSQL with a migrated database to copy, `template_of_all`."""

    def _new(self, folder: Path) -> LocalPostgres:
        server = LocalPostgres(folder)
        server.start()
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE template_of_all")
        with Deployment(Servers("redis://unused", server.url), "template", "template_of_all") as template:
            migrate(template.settings())
        return server

    def _state(self) -> Mapping[str, Any]:
        questions = {
            "databases": "SELECT datname FROM pg_database ORDER BY 1",
            "roles": "SELECT rolname FROM pg_roles ORDER BY 1",
            "tablespaces": "SELECT spcname FROM pg_tablespace ORDER BY 1",
            "settings": "SELECT name, setting FROM pg_file_settings ORDER BY 1",
            "settings of roles and databases": (
                "SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting"
            ),
        }
        with psycopg.connect(self.lent.url, autocommit=True, connect_timeout=PATIENCE_S) as connection:
            return {
                name: connection.execute(question.encode()).fetchall() for name, question in questions.items()
            }
