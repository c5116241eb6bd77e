"""PgBouncer in transaction mode: each transaction may get another session."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from local.directory import free_port
from tests.harness import Deployment, eventually
from tests.skips import Reason, skip

CONFIGURATION = """\
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
unix_socket_dir =
"""


@contextmanager
def pooled(direct: Deployment, folder: Path, *, sessions: int = 10) -> Iterator[Deployment]:
    """Yield the same database, reached through a pooler; without one the test is left out."""
    program = shutil.which("pgbouncer")
    if program is None:
        skip(Reason.NO_POOLER)
    server, port = urlsplit(direct.servers.database_url), free_port()
    settings = {
        "host": server.hostname,
        "port": server.port,
        "user": server.username,
        "password": server.password,
    }
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        CONFIGURATION.format(own_port=port, sessions=sessions, **settings), encoding="utf-8"
    )
    account = ["-u", "nobody"] if os.geteuid() == 0 else []
    folder.chmod(0o755)
    running = subprocess.Popen([program, "-q", *account, str(configuration)])
    servers = replace(direct.servers, database_url=f"postgresql://any:any@127.0.0.1:{port}/any")
    try:
        with direct.elsewhere(servers) as made:
            eventually(lambda: _answers(made))
            yield made
    finally:
        running.terminate()
        running.wait(timeout=20)


def _answers(deployment: Deployment) -> bool:
    try:
        psycopg.connect(deployment.database_url).close()
    except psycopg.OperationalError:
        return False
    return True
