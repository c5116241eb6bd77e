"""Migrating where each transaction may get another session: PgBouncer in transaction mode."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.harness import Deployment, Servers, eventually
from tests.migrating import (
    INDEXES,
    IS_BEING_BUILT,
    ask,
    indexes,
    is_current,
    looking,
    made_by_the_last_version,
    migrate_process,
    writing,
)
from tests.processes import free_port
from tests.skips import Reason, skip
from worker.store import migrations

CONFIGURATION = """\
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
auth_type = any
pool_mode = transaction
default_pool_size = 10
unix_socket_dir =
"""


@pytest.fixture
def pooled(empty_database: Deployment, tmp_path: Path) -> Iterator[Deployment]:
    """The same database, reached through a pooler."""
    program = shutil.which("pgbouncer")
    if program is None:
        skip(Reason.NO_POOLER)
    server, port = urlsplit(empty_database.servers.database_url), free_port()
    settings = {
        "host": server.hostname,
        "port": server.port,
        "user": server.username,
        "password": server.password,
    }
    configuration = tmp_path / "pgbouncer.ini"
    configuration.write_text(CONFIGURATION.format(own_port=port, **settings), encoding="utf-8")
    account = ["-u", "nobody"] if os.geteuid() == 0 else []
    tmp_path.chmod(0o755)
    running = subprocess.Popen([program, "-q", *account, str(configuration)])
    servers = Servers(empty_database.servers.redis_url, f"postgresql://any:any@127.0.0.1:{port}/any")
    try:
        with Deployment(servers, empty_database.name, empty_database.database_name) as made:
            eventually(lambda: answers(made))
            yield made
    finally:
        running.terminate()
        running.wait(timeout=20)


def answers(deployment: Deployment) -> bool:
    try:
        return ask(deployment, "SELECT 1") == [1]
    except psycopg.OperationalError:
        return False


def test_migrations_through_a_pooler_take_turns_beside_the_work(
    empty_database: Deployment, pooled: Deployment
) -> None:
    made_by_the_last_version(empty_database, orders=1000)
    with ExitStack() as stack:
        person = stack.enter_context(looking(empty_database))
        for name, copies in (("inserts", False), ("copies", True)):
            stack.enter_context(writing(pooled, name, copies=copies))
        running = [stack.enter_context(migrate_process(pooled)) for _ in range(3)]
        eventually(lambda: ask(empty_database, IS_BEING_BUILT))
        person.execute("COMMIT")
        said = [process.communicate(timeout=60)[0] for process in running]

    assert said == ["schema: current\n"] * 3
    assert indexes(empty_database) == INDEXES


def test_tables_are_made_and_removed_through_a_pooler(pooled: Deployment) -> None:
    migrations.upgrade(pooled.database)
    assert is_current(pooled)

    migrations.downgrade(pooled.database, "base")
    migrations.upgrade(pooled.database)

    assert is_current(pooled)
