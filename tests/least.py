"""RIGHTS=least: what is tested enters as the users and roles of deploy/, the tests as an administrator.

The names of the files are replaced by those of a test: its streams, and users and roles of its own.
"""

import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlsplit

import psycopg
import redis

from tests.accounts import with_user
from tests.harness import Deployment, Servers
from tests.rights import ROLES, ROLES_FILE, USERS, rules

PASSWORD = "throw-away"
KINDS = ("all", "least")
# Whoever enters the one server enters the other as the same; the bridge enters PostgreSQL as nobody.
WHO = {
    "worker": ("orders-worker", "orders_worker"),
    "operator": ("orders-operator", "orders_operator"),
    "pruner": ("orders-operator", "orders_pruner"),
    "bridge": ("orders-bridge", "nobody"),
    "migrate": ("orders-nobody", "orders_migrate"),
    "producer": ("orders-producer", "nobody"),
    "awaiter": ("orders-awaiter", "nobody"),
    "reader": ("orders-reader", "nobody"),
}


def wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether what is tested may do no more than it needs. Raises ValueError for what is no answer."""
    rights = environ.get("RIGHTS") or "all"
    if rights not in KINDS:
        raise ValueError(f"RIGHTS is {rights!r}, not one of {', '.join(KINDS)}")
    return rights == "least"


def renamed(rule: str, settings: Mapping[str, str]) -> list[str]:
    """Return what a rule of the file becomes where the streams and channels are called otherwise.

    A channel of orders is called `legacy`, and a results channel like its test, or both begin so.
    """
    kind, name = rule[0], rule[1:]
    orders, results = settings["orders_stream"], settings["results_stream"]
    if kind == "&":
        of_test = orders.removesuffix(":orders")
        heard = f"{of_test}:legacy"
        channels = {"orders": heard, "orders:bridge:orders": f"{orders}:bridge:{heard}"}
        return [f"&{channels.get(name, f'{of_test}*')}"]
    if kind == "~":
        stream, colon, rest = name.partition(":")
        called = {"orders": orders, "order_results": results}[stream]
        ours = f"~{called}{colon}{rest}"
        # In the file the pattern of what is kept beside the orders is that of the dead letters, too.
        dead = settings["dead_letter_stream"]
        elsewhere = name == "orders:*" and not dead.startswith(f"{orders}:")
        return [ours, f"~{dead}", f"~{dead}:*"] if elsewhere else [ours]
    return [rule]


@dataclass
class Roles:
    """The roles of the file under names that nobody else has, on one server."""

    servers: Servers
    prefix: str

    @classmethod
    @contextmanager
    def made(cls, servers: Servers) -> Iterator[Self]:
        """Yield what makes them, and drop them in the end."""
        made = cls(servers, f"r{uuid.uuid4().hex[:12]}")
        yield made
        # Where a database stays behind that names them, so do they.
        with (
            suppress(psycopg.errors.DependentObjectsStillExist),
            psycopg.connect(servers.database_url, autocommit=True) as connection,
        ):
            for role in ROLES:
                connection.execute(f"DROP ROLE IF EXISTS {made.name(role)}".encode())

    def name(self, role: str) -> str:
        """Return what a role of the file is called here."""
        return role.replace("orders", self.prefix, 1)

    def give(self, deployment: Deployment) -> None:
        """Run the file in a database."""
        any_role = "|".join(ROLES)
        statements = re.sub(
            rf"\b({any_role})\b",
            lambda found: self.name(found[0]),
            ROLES_FILE.read_text(encoding="utf-8"),
        )
        with psycopg.connect(deployment.database_url, autocommit=True) as connection:
            connection.execute(statements.encode())
            for role in ROLES:
                connection.execute(f"ALTER ROLE {self.name(role)} PASSWORD '{PASSWORD}'".encode())

    def let_prune(self) -> None:
        """Give replicas what they need for letting rows go by themselves, as the page says."""
        with psycopg.connect(self.servers.database_url, autocommit=True) as connection:
            pruner, worker = self.name("orders_pruner"), self.name("orders_worker")
            connection.execute(f"GRANT {pruner} TO {worker}".encode())

    def as_owner(self) -> Servers:
        """Return the servers as who migrates enters them; Redis as an administrator."""
        owner = with_user(self.servers.database_url, self.name("orders_migrate"), PASSWORD)
        return replace(self.servers, database_url=owner)


class LeastAccounts:
    """The users of one deployment, of which those of Redis may use the streams that its settings name."""

    def __init__(self, deployment: Deployment, roles: Roles) -> None:
        self._name = deployment.name
        self._servers = deployment.servers
        self._roles = roles
        self._given: dict[str, set[str]] = {}

    def of(self, who: str, settings: Mapping[str, str]) -> Servers:
        """Return the servers as somebody enters them, who may use what is named in settings."""
        user, role = WHO[who]
        ours = f"{self._name}-{user}"
        if who == "worker" and settings.get("rows_keep_s", "0") != "0":
            self._roles.let_prune()
        if user in USERS:
            self._admit(user, ours, settings)
        way = self._servers.way
        return replace(
            self._servers,
            redis_url=with_user(self._servers.redis_url, ours, PASSWORD),
            database_url=with_user(self._servers.database_url, self._roles.name(role), PASSWORD),
            way=way and with_user(way, ours, PASSWORD),
        )

    def _admit(self, user: str, ours: str, settings: Mapping[str, str]) -> None:
        needed = [each for rule in rules(user, channel=True) for each in renamed(rule, settings)]
        # As the page says of a cluster, and of a database other than 0.
        needed += ["+cluster|slots"] if "+cluster" in self._servers.way else []
        needed += [] if urlsplit(self._servers.redis_url).path in {"", "/", "/0"} else ["+select"]
        given = self._given.setdefault(ours, set())
        missing = [each for each in needed if each not in given]
        if missing:
            given.update(missing)
            self._everywhere("SETUSER", ours, *missing, "on", f">{PASSWORD}")

    def end(self) -> None:
        """Remove the users."""
        if self._given:
            self._everywhere("DELUSER", *self._given)

    def _everywhere(self, *words: str) -> None:
        for server in self._servers.everywhere:
            with redis.Redis.from_url(server) as client:
                client.execute_command("ACL", *words)


@contextmanager
def admitted(deployment: Deployment, roles: Roles | None) -> Iterator[Deployment]:
    """Give a deployment accounts that may do what the files say, where there are roles."""
    if roles is None:
        yield deployment
        return
    roles.give(deployment)
    accounts = deployment.accounts = LeastAccounts(deployment, roles)
    try:
        yield deployment
    finally:
        accounts.end()


@contextmanager
def entered_with_least_rights(deployment: Deployment, servers: Servers) -> Iterator[Roles]:
    """Give one deployment roles of its own, and accounts that may do no more, whatever the others have."""
    with Roles.made(servers) as roles:
        with admitted(deployment, roles):
            yield roles
        with psycopg.connect(deployment.database_url, autocommit=True) as connection:
            for role in ROLES:
                connection.execute(f"DROP OWNED BY {roles.name(role)}".encode())
