"""Where the suite's Redis and PostgreSQL come from: given URLs, else containers, else embedded ones.

SERVERS=urls, docker or embedded forces one, and embedded+docker or docker+embedded a Redis from there and a
PostgreSQL from here. REDIS_IMAGE and POSTGRES_IMAGE choose the containers.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import redis

from local import local_servers
from tests.entrances import Encrypted, Socket
from tests.gathering import PATIENCE_MS, Cluster, Watched, gathered
from tests.harness import Servers

KINDS = ("urls", "docker", "embedded", "embedded+docker", "docker+embedded")
WAYS = {"sentinel": Watched, "cluster": Cluster, "socket": Socket, "tls": Encrypted}
REDIS_IMAGE = "redis:8-alpine"
POSTGRES_IMAGE = "postgres:17-alpine"
PASSWORD = "throw-away"
FETCH_LIMIT_S = 300


@dataclass(frozen=True)
class Choice:
    """Where the servers come from, and why not from where one might have thought."""

    kind: str
    note: str = ""


@cache
def docker_answers() -> bool:
    """Whether a Docker engine can be used here."""
    try:
        asked = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


@cache
def version_in(image: str, program: str) -> "subprocess.CompletedProcess[str]":
    """Run a program of an image that says its version, having fetched the image where it is not there."""
    here = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
    if here.returncode:
        sys.stderr.write(f"fetching the image {image} ...\n")
    # By a shell: given the program, an entry point may make it ready to serve first. With files in memory, as
    # it is to run.
    asking = ["sh", "-c", f"{program} --version"]
    command = ["docker", "run", "--rm", "--tmpfs", "/scratch", image, *asking]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_LIMIT_S)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"nothing within {FETCH_LIMIT_S} s")


def unusable(image: str, program: str) -> str | None:
    """Return why a program of an image can't be run, None where it can."""
    tried = version_in(image, program)
    # Without the line that ends what Docker says, on its own help.
    said = [line for line in tried.stderr.splitlines() if line and not line.startswith("Run '")]
    return (said or ["no word"])[-1] if tried.returncode else None


def choose(environ: Mapping[str, str]) -> Choice:
    """Return where the servers are to come from. Raises ValueError where what is forced can't be had."""
    forced = environ.get("SERVERS", "")
    if forced and forced not in KINDS:
        raise ValueError(f"SERVERS is {forced!r}, not one of {', '.join(KINDS)}")
    given = bool(environ.get("REDIS_URL") and environ.get("DATABASE_URL"))
    if forced == "urls" and not given:
        raise ValueError("SERVERS=urls takes REDIS_URL and DATABASE_URL")
    if forced in {"urls", "embedded"}:
        return Choice(forced)
    if given and not forced:
        return Choice("urls")
    if not docker_answers():
        if forced:
            raise ValueError(f"SERVERS={forced}: no Docker engine answers `docker info`")
        return Choice("embedded", "no Docker engine answers")
    for image, program in _images(forced or "docker"):
        why = unusable(image, program)
        if why and forced:
            raise ValueError(f"SERVERS={forced}: the image {image} can't be used: {why}")
        if why:
            return Choice("embedded", f"Docker answers, but the image {image} can't be used: {why}")
    return Choice(forced or "docker")


def kinds_of(kind: str) -> tuple[str, str]:
    """Return where Redis and where PostgreSQL come from."""
    of_redis, _, of_postgres = kind.partition("+")
    return of_redis, of_postgres or of_redis


def _images(kind: str) -> list[tuple[str, str]]:
    images = ((redis_image(), "redis-server"), (postgres_image(), "postgres"))
    return [each for each, comes in zip(images, kinds_of(kind), strict=True) if comes == "docker"]


def urls() -> Servers:
    """Return the servers that the environment names."""
    return Servers(os.environ["REDIS_URL"], os.environ["DATABASE_URL"], given=True)


def redis_image() -> str:
    """Return the image that Redis runs from."""
    return os.environ.get("REDIS_IMAGE", REDIS_IMAGE)


def postgres_image() -> str:
    """Return the image that PostgreSQL runs from."""
    return os.environ.get("POSTGRES_IMAGE", POSTGRES_IMAGE)


@contextmanager
def started(kind: str, folder: Path) -> Iterator[Servers]:
    """Yield servers of a kind; what was started for it ends with the block.

    WAY has workers find another Redis in place of the one of that kind: several processes that
    Sentinels watch or that are a cluster, or one behind a socket or TLS.
    """
    way = os.environ.get("WAY", "")
    with _started(kind, folder) as servers:
        if not way:
            yield servers
            return
        with gathered(WAYS[way], folder / "way", PATIENCE_MS) as gathering:
            primary = gathering.primary().url
            nodes = tuple(each.url for each in gathering.servers)
            yield Servers(primary, servers.database_url, servers.given, gathering.way, nodes)


@contextmanager
def _started(kind: str, folder: Path) -> Iterator[Servers]:
    if kind == "urls":
        yield urls()
        return
    of_redis, of_postgres = kinds_of(kind)
    given = {name: value for name, value in os.environ.items() if name not in {"REDIS_URL", "DATABASE_URL"}}
    with ExitStack() as made:
        if of_redis == "docker":
            given["REDIS_URL"] = made.enter_context(_redis_container())
        if of_postgres == "docker":
            given["DATABASE_URL"] = made.enter_context(_postgres_container())
        environ = made.enter_context(local_servers(folder, given))
        yield Servers(environ["REDIS_URL"], environ["DATABASE_URL"])


def _container(image: str) -> Any:
    # The containers end with the block; the helper that would end them otherwise is one more image to fetch.
    # The library reads the environment when it is imported.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415

    return DockerContainer(image)


@contextmanager
def _redis_container() -> Iterator[str]:
    store = _container(redis_image()).with_exposed_ports(6379)
    store.with_command(
        f"redis-server --requirepass {PASSWORD} --appendonly yes --maxmemory-policy noeviction"
    )
    # In memory, as the files of the embedded ones are where they can be.
    with store.with_tmpfs_mount("/data"):
        url = f"redis://:{PASSWORD}@{store.get_container_host_ip()}:{store.get_exposed_port(6379)}/0"
        _await(lambda: redis_version(url))
        yield url


@contextmanager
def _postgres_container() -> Iterator[str]:
    database = _container(postgres_image()).with_exposed_ports(5432)
    database.with_env("POSTGRES_PASSWORD", PASSWORD).with_command("postgres -c max_connections=200")
    with database.with_tmpfs_mount("/scratch").with_env("PGDATA", "/scratch/data"):
        place = f"{database.get_container_host_ip()}:{database.get_exposed_port(5432)}"
        url = f"postgresql://postgres:{PASSWORD}@{place}/postgres"
        _await(lambda: postgres_version(url))
        yield url


def _await(question: Callable[[], object], within: float = 60) -> None:
    deadline = time.monotonic() + within
    while True:
        try:
            question()
        except (redis.RedisError, psycopg.OperationalError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def redis_version(url: str) -> str:
    """Return what Redis, or what stands in its place, says of itself."""
    with redis.Redis.from_url(url) as client:
        info = client.info("server")
    kind = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    return f"{kind} {info.get('valkey_version', info['redis_version'])}"


def postgres_version(url: str) -> str:
    """Return what PostgreSQL says of itself."""
    with psycopg.connect(url, connect_timeout=3) as connection:
        version = connection.info.parameter_status("server_version")
    return f"PostgreSQL {version}"
