"""PgBouncer, as deploy/pgbouncer/ has it: each transaction, or each client, may get another session."""

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

SHIPPED = Path(__file__).parent.parent / "deploy" / "pgbouncer" / "pgbouncer.ini"
# Who is let in, and as whom at the server, is not what these tests are about.
_OURS = {"unix_socket_dir": "", "auth_type": "any", "listen_addr": "127.0.0.1"}
_WITHOUT = ("auth_file",)
MODES = ("transaction", "session")


class Pooler:
    """PgBouncer before one server. It may be killed, and started again at its port."""

    def __init__(self, server_url: str, folder: Path, database: str = "*", /, **settings: object) -> None:
        """Prepare one that knows one database of a server, or whichever is asked for."""
        self.port = free_port()
        self._server_url = server_url
        self._settings = settings
        self._configuration = folder / "pgbouncer.ini"
        folder.chmod(0o755)
        self.knows(database)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect, whoever they say that they are."""
        return self.url_of("any")

    def url_of(self, database: str) -> str:
        """Where clients connect to a database."""
        return f"postgresql://any:any@127.0.0.1:{self.port}/{database}"

    def knows(self, database: str) -> None:
        """Have it know this database alone, or whichever is asked for ("*"), from its next start on."""
        self._configuration.write_text(self._configured(database), encoding="utf-8")

    def start(self) -> None:
        """Start it, without waiting until it answers; without the program the test is left out."""
        program = shutil.which("pgbouncer")
        if program is None:
            skip(Reason.NO_POOLER)
        account = ["-u", "nobody"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen([program, "-q", *account, str(self._configuration)])

    def kill(self) -> None:
        """Let it end with all its connections, without a word to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=20)

    def _configured(self, database: str) -> str:
        """Return what is shipped, with a server behind it and other settings."""
        parts = urlsplit(self._server_url)
        server = f"host={parts.hostname} port={parts.port} user={parts.username} password={parts.password}"
        ours = {**_OURS, "listen_port": self.port, **self._settings}
        lines = []
        for line in SHIPPED.read_text(encoding="utf-8").splitlines():
            name = line.partition("=")[0].strip()
            if name == "orders":
                lines.append(f"{database} = {server}")
            elif name not in (*ours, *_WITHOUT):
                lines.append(line)
        return "\n".join([*lines, *(f"{name} = {value}" for name, value in ours.items()), ""])


@contextmanager
def started(server_url: str, folder: Path, database: str = "*", /, **settings: object) -> Iterator[Pooler]:
    """Start a pooler that knows one database of a server, or whichever is asked for, and end it."""
    pooler = Pooler(server_url, folder, database, **settings)
    pooler.start()
    try:
        yield pooler
    finally:
        pooler.kill()


@contextmanager
def pooled(direct: Deployment, folder: Path, **settings: object) -> Iterator[Deployment]:
    """Yield the same database, reached through a pooler; without one the test is left out."""
    with (
        started(direct.servers.database_url, folder, **settings) as pooler,
        direct.elsewhere(replace(direct.servers, database_url=pooler.url, database_way="")) as made,
    ):
        made.accepted = direct.accepted
        eventually(lambda: answers(made.database_url))
        yield made


def letting_in(user: str, folder: Path) -> dict[str, object]:
    """Return settings that let a user in by name alone; PgBouncer's account has to get at the folder."""
    list_of_users = folder / "userlist.txt"
    list_of_users.write_text(f'"{user}" ""\n', encoding="utf-8")
    return {"auth_type": "trust", "auth_file": list_of_users}


def answers(url: str) -> bool:
    """Whether a server is there behind the pooler."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
