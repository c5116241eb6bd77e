"""The files of deploy/ are taken by the servers as they are, in the steps that docs/deploy.md shows."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from local import LocalPostgres, LocalRedis
from local.postgres import find_postgres
from tests.accounts import with_user
from tests.commands import command
from tests.faults.environment.documented import DATABASE, PASSWORD, Documented
from tests.manifests import BASE, pods, written
from tests.rights import ADMINISTRATOR, ROLES, ROLES_FILE, ROOT, USERS, blocks
from tests.skips import Reason, skip

PASSWORDS, COMMANDS, _ = blocks("sh")
WITH_PASSWORD = (ADMINISTRATOR, "orders-worker", "orders-operator")
# Where the migration of deploy/kubernetes finds as whom it enters.
OWNERS_URL = "/run/secrets/owner/database_url"
NOTHING_YET = "there are no tables yet"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder with the files of deploy/ and a secret for some users."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets"))
    (tmp_path / "secrets").mkdir()
    for user in WITH_PASSWORD:
        (tmp_path / "secrets" / user).write_text(f"{PASSWORD}\n", encoding="utf-8")
    return tmp_path


def shell(script: str, folder: Path, more: Mapping[str, str] | None = None) -> str:
    """Run a script as the page has it, and return what it said."""
    done = subprocess.run(
        ["/bin/sh", "-euc", script], cwd=folder, env={**os.environ, **(more or {})}, timeout=60, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def is_let_in(url: str, user: str, password: str = PASSWORD) -> bool:
    with redis.Redis.from_url(with_user(url, user, password)) as client:
        try:
            client.acl_whoami()
        except redis.AuthenticationError:
            return False
        except redis.exceptions.NoPermissionError:
            return True
    return True


def test_acl_file_lets_in_those_who_were_given_a_password(copied: Path, tmp_path: Path) -> None:
    server = LocalRedis(tmp_path / "redis", {"aclfile": str(copied / "users.acl")})
    # Whoever starts the server asks whether it answers, as the administrator.
    server.directory.mkdir()
    (copied / "secrets" / ADMINISTRATOR).write_text(server.password, encoding="utf-8")
    shell(PASSWORDS, copied)

    server.start()
    try:
        let_in = {user for user in USERS if is_let_in(server.url, user)}
        assert is_let_in(server.url, ADMINISTRATOR, server.password)
        with redis.Redis(port=server.port) as nobody, pytest.raises(redis.AuthenticationError):
            nobody.ping()
    finally:
        server.stop()

    assert let_in == set(WITH_PASSWORD) - {ADMINISTRATOR}


def test_lines_as_commands_give_what_is_new_and_keep_passwords(
    copied: Path, redis_server: LocalRedis
) -> None:
    lines = shell(COMMANDS.replace("| redis-cli", ""), copied).splitlines()

    with redis.Redis.from_url(redis_server.url) as client:
        try:
            run_all(client, lines)
            assert not any(is_let_in(redis_server.url, user) for user in USERS)
            client.execute_command(
                "ACL", "SETUSER", "orders-worker", "on", f">{PASSWORD}", "-ping", "+flushall"
            )
            run_all(client, lines)

            with redis.Redis.from_url(with_user(redis_server.url, "orders-worker", PASSWORD)) as worker:
                assert worker.ping()
                with pytest.raises(redis.exceptions.NoPermissionError):
                    worker.flushall()
        finally:
            client.acl_deluser(*USERS)


def run_all(client: redis.Redis, lines: list[str]) -> None:
    assert len(lines) == len(USERS)
    for line in lines:
        client.execute_command(*line.split())  # type: ignore[no-untyped-call]


@pytest.fixture
def psql(postgres_server: LocalPostgres) -> Iterator[dict[str, str]]:
    """What psql finds in its environment, by which it enters a server where nothing was granted."""
    beside = find_postgres()[0] / "psql"
    found = str(beside) if beside.exists() else shutil.which("psql")
    if found is None:
        skip(Reason.NO_PSQL)
    parts = urlsplit(postgres_server.url)
    yield {
        "PATH": f"{Path(found).parent}{os.pathsep}{os.environ['PATH']}",
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port),
        "PGUSER": parts.username or "",
        "PGPASSWORD": parts.password or "",
    }
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)".encode())
        for role in ROLES:
            connection.execute(f"DROP ROLE IF EXISTS {role}".encode())


def test_roles_are_made_once_and_given_more_when_the_tables_are_there(
    psql: dict[str, str], redis_server: LocalRedis, postgres_server: LocalPostgres, copied: Path
) -> None:
    run = f"psql -v ON_ERROR_STOP=1 -d {DATABASE} -f deploy/postgres/roles.sql"
    with Documented.made(redis_server, postgres_server) as made:
        before = made.grants("orders_worker")

        assert NOTHING_YET in shell(run, copied, psql)
        with made.entered("nobody", "orders_migrate") as migrate:
            assert command(migrate, "migrate").exit_code == 0
        said = [shell(run, copied, psql) for _ in range(2)]
        after = made.grants("orders_worker")
        owner = {"PGUSER": "orders_migrate", "PGPASSWORD": PASSWORD}
        shell(run, copied, psql | owner)

        assert NOTHING_YET not in "".join(said)
        assert set(before) < set(after)
        assert made.grants("orders_worker") == after


def test_migration_of_kubernetes_grants_as_the_owner_of_the_tables(
    psql: dict[str, str], redis_server: LocalRedis, postgres_server: LocalPostgres, tmp_path: Path
) -> None:
    (pod,) = [pod for kind, pod in pods(written(BASE)) if kind == "Job"]
    (grant,) = [each["command"] for each in pod["containers"]]
    url = tmp_path / "database_url"
    run = grant[-1].replace("/roles/", f"{ROOT}/deploy/postgres/").replace(OWNERS_URL, str(url))
    with Documented.made(redis_server, postgres_server) as made:
        url.write_text(made.url("orders_migrate"), encoding="utf-8")
        with made.entered("nobody", "orders_migrate") as migrate:
            assert command(migrate, "migrate").exit_code == 0
        before = made.grants("orders_worker")

        done = subprocess.run([*grant[:-1], run], env=psql, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stderr
        assert set(before) < set(made.grants("orders_worker"))


def test_reader_may_read_orders_and_trades_and_change_nothing(migrated: Documented) -> None:
    with psycopg.connect(migrated.url("orders_reader"), autocommit=True) as connection:
        connection.execute("SELECT * FROM orders JOIN trades USING (order_id)")
        for denied in (
            "DELETE FROM orders",
            "UPDATE orders SET status = 'DEAD'",
            "SELECT * FROM order_sources",
            "CREATE TABLE mine (a int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(denied.encode())


def test_nobody_enters_the_database_for_belonging_to_everybody(migrated: Documented) -> None:
    migrated.sql(f"CREATE ROLE somebody LOGIN PASSWORD '{PASSWORD}'")
    try:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(migrated.url("somebody"))
    finally:
        migrated.sql("DROP ROLE somebody")
    assert "PASSWORD" not in ROLES_FILE.read_text(encoding="utf-8")
