"""The rights as docs/deploy.md shows them, given on servers of the tests' own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis

from local import LocalPostgres, LocalRedis
from tests.accounts import with_user
from tests.harness import Deployment, Servers

PAGE = Path(__file__).parents[3] / "docs" / "deploy.md"
PASSWORD = "throw-away"
DATABASE = "orders"
USERS = ("orders-worker", "orders-operator", "orders-bridge")
ROLES = ("orders_migrate", "orders_worker", "orders_operator")


def blocks(language: str) -> list[list[str]]:
    """Return the lines of each block in a language on the page."""
    found = re.findall(
        rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return [[line for line in block.splitlines() if line] for block in found]


def rules(user: str, *, channel: bool = False) -> list[str]:
    """Return the rules of a user of Redis, those for the results channel only where they are asked for."""
    always, with_channel = blocks("redis")
    lines = [line.split() for line in always + (with_channel if channel else [])]
    return [rule for line in lines if line[:3] == ["ACL", "SETUSER", user] for rule in line[3:]]


def commands(user: str, *, channel: bool = False) -> list[str]:
    """Return the commands that a user may run."""
    return [rule[1:] for rule in rules(user, channel=channel) if rule.startswith("+")]


def patterns(user: str, *, channel: bool = False) -> list[str]:
    """Return the rules that say which keys and channels a user may use."""
    return [rule for rule in rules(user, channel=channel) if rule[0] in "~&"]


class Grant(NamedTuple):
    """One right of one role; `kind` is empty for a table."""

    role: str
    right: str
    kind: str
    name: str

    @property
    def object(self) -> str:
        """What it is on, as PostgreSQL calls it."""
        return f"{self.kind or 'table'} {self.name}"

    def __str__(self) -> str:
        return f"{self.right} on {self.object}"


def grants() -> Iterator[Grant]:
    """Yield every right that the page gives."""
    for line in [line for block in blocks("sql") for line in block]:
        found = re.fullmatch(r"GRANT (.+) ON (DATABASE |SCHEMA |)(.+) TO (.+);", line)
        if found:
            rights, kind, names, roles = found.groups()
            for role, right, name in product(roles.split(", "), rights.split(", "), names.split(", ")):
                yield Grant(role, right, kind.strip().lower(), name)


def rows(head: str) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each row of the table with this first heading, without their code marks."""
    table = PAGE.read_text(encoding="utf-8").split(f"| {head} |")[1].split("\n\n")[0]
    for line in table.splitlines()[2:]:
        yield tuple(
            cell.strip().replace("`", "").replace("\\|", "|") for cell in line.strip("|").split(" | ")
        )


@dataclass
class Documented:
    """The streams and the database under the names that are the defaults."""

    redis_server: LocalRedis
    postgres_server: LocalPostgres
    administrator: Deployment

    @classmethod
    @contextmanager
    def made(cls, redis_server: LocalRedis, postgres_server: LocalPostgres) -> Iterator[Self]:
        """Give every right but those on tables, which are not there yet; take all of it back in the end."""
        (before, _) = blocks("sql")
        try:
            _run(postgres_server.url, before)
            with _deployment(redis_server.url, postgres_server.url) as administrator:
                made = cls(redis_server, postgres_server, administrator)
                for user in USERS:
                    made.admit(user)
                yield made
                with suppress(redis.RedisError):
                    administrator.redis.flushall()
                    administrator.redis.acl_deluser(*USERS)
        finally:
            _run(postgres_server.url, [f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE);"])
            _run(postgres_server.url, [f"DROP ROLE IF EXISTS {role};" for role in ROLES])

    def admit(self, user: str, *, without: str | None = None, channel: bool = False) -> None:
        """Let a user of Redis do what the page says, but for one rule."""
        given = [
            rule.replace("PASSWORD", PASSWORD) for rule in rules(user, channel=channel) if rule != without
        ]
        self.administrator.redis.execute_command(  # type: ignore[no-untyped-call]
            "ACL", "SETUSER", user, *given
        )

    def grant_tables(self) -> None:
        """Give the rights on tables, as who owns them."""
        _, after = blocks("sql")
        _run(self.url("orders_migrate"), after)

    def sql(self, statement: str) -> None:
        """Run a statement as an administrator."""
        _run(self.administrator.database_url, [statement])

    def url(self, role: str) -> str:
        """Return where a role connects."""
        return with_user(self.administrator.database_url, role, PASSWORD)

    @contextmanager
    def entered(self, user: str, role: str) -> Iterator[Deployment]:
        """Yield the same place as somebody enters it; nobody opens it as `nobody`."""
        servers = with_user(self.redis_server.url, user, PASSWORD), self.url(role)
        with _deployment(*servers) as made:
            yield made

    def refused(self) -> set[str]:
        """Return what Redis has refused anybody since it was asked to forget."""
        logged: Any = self.administrator.redis.acl_log()
        return {_text(entry["object"]).partition("|")[0] for entry in logged}


def _deployment(redis_url: str, database_url: str) -> Deployment:
    made = Deployment(Servers(redis_url, database_url), "documented", DATABASE)
    made.orders, made.results, made.dead_letters = "orders", "order_results", "orders:dead"
    return made


def _run(url: str, lines: list[str]) -> None:
    for line in lines:
        if line.startswith("\\c "):
            url = urlunsplit(urlsplit(url)._replace(path=f"/{line[3:]}"))
            continue
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(line.replace("'PASSWORD'", f"'{PASSWORD}'").encode())


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
