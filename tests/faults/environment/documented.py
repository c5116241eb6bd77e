"""The rights as deploy/ gives them, on servers of the tests' own."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import psycopg
import redis

from local import LocalPostgres, LocalRedis
from tests.accounts import with_user
from tests.harness import Deployment, Servers
from tests.rights import PAGE, ROLES, ROLES_FILE, USERS, rules

PASSWORD = "throw-away"
DATABASE = "orders"
# Every right that a role has on the database, its schema and its tables; what it owns is not granted.
GRANTED = """
SELECT pg_get_userbyid(entry.grantee), entry.privilege_type, given.kind, given.name
FROM (
    SELECT 'database' AS kind, datname::text AS name, datdba AS owner, datacl AS acl
    FROM pg_database WHERE datname = current_database()
    UNION ALL
    SELECT 'schema', nspname::text, nspowner, nspacl FROM pg_namespace WHERE nspname = 'public'
    UNION ALL
    SELECT '', relname::text, relowner, relacl FROM pg_class WHERE relnamespace = 'public'::regnamespace
) AS given, aclexplode(given.acl) AS entry
WHERE entry.grantee <> given.owner AND entry.grantee <> 0
ORDER BY 3, 4, 2
"""


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
        try:
            _run(postgres_server.url, f"CREATE DATABASE {DATABASE}")
            with _deployment(redis_server.url, postgres_server.url) as administrator:
                made = cls(redis_server, postgres_server, administrator)
                made.sql(ROLES_FILE.read_text(encoding="utf-8"))
                for role in ROLES:
                    made.sql(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
                for user in USERS:
                    made.admit(user)
                yield made
                with suppress(redis.RedisError):
                    administrator.redis.flushall()
                    administrator.redis.acl_deluser(*USERS)
        finally:
            _run(postgres_server.url, f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
            for role in ROLES:
                _run(postgres_server.url, f"DROP ROLE IF EXISTS {role}")

    @property
    def can_fsync(self) -> bool:
        """Whether the server knows WAITAOF, as Redis does from 7.2 on."""
        try:
            self.administrator.redis.execute_command("WAITAOF", 0, 0, 1)  # type: ignore[no-untyped-call]
        except redis.ResponseError:
            return False
        return True

    def admit(
        self, user: str, *, without: str | None = None, channel: bool = False, fsynced: bool = False
    ) -> None:
        """Let a user of Redis do what the file says, but for one rule."""
        given = [rule for rule in rules(user, channel=channel, fsynced=fsynced) if rule != without]
        self.administrator.redis.execute_command(  # type: ignore[no-untyped-call]
            "ACL", "SETUSER", user, *given, "on", f">{PASSWORD}"
        )

    def grant_tables(self) -> None:
        """Give the rights on tables, as who owns them."""
        _run(self.url("orders_migrate"), ROLES_FILE.read_text(encoding="utf-8"))

    def grants(self, role: str) -> list[Grant]:
        """Return every right that the file has given a role."""
        with psycopg.connect(self.administrator.database_url, autocommit=True) as connection:
            found = [Grant(*row) for row in connection.execute(GRANTED)]
        return [grant for grant in found if grant.role == role]

    def sql(self, statements: str) -> None:
        """Run statements as an administrator."""
        _run(self.administrator.database_url, statements)

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


def _run(url: str, statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statements.encode())


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
