"""Where the suite's Redis and PostgreSQL come from: given URLs, else containers, else embedded ones.

SERVERS=urls, docker or embedded forces one, and embedded+docker or docker+embedded a Redis from there and a
PostgreSQL from here. REDIS_IMAGE and POSTGRES_IMAGE choose the containers.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import redis

from local import local_servers
from local.directory import make_directory
from tests.entrances import Encrypted, Socket
from tests.gathering import PATIENCE_MS, Cluster, Watched, gathered
from tests.harness import Servers
from tests.images import docker_answers, postgres_image, redis_image, unusable
from tests.pooler import MODES, Pooler
from tests.pooler import started as pooler_started

KINDS = ("urls", "docker", "embedded", "embedded+docker", "docker+embedded")
WAYS = {"sentinel": Watched, "cluster": Cluster, "socket": Socket, "tls": Encrypted}
PASSWORD = "throw-away"


@dataclass(frozen=True)
class Choice:
    """Where the servers come from, and why not from where one might have thought."""

    kind: str
    note: str = ""


def choose(environ: Mapping[str, str]) -> Choice:
    """Return where the servers are to come from. Raises ValueError where what is forced can't be had."""
    _refuse_unknown(environ)
    forced = environ.get("SERVERS", "")
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


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    for name, known in (("SERVERS", KINDS), ("WAY", WAYS), ("POOLER", MODES)):
        if environ.get(name) and environ[name] not in known:
            raise ValueError(f"{name} is {environ[name]!r}, not one of {', '.join(known)}")
    if environ.get("POOLER") and environ.get("RIGHTS"):
        raise ValueError("POOLER lets everybody in as an administrator, and RIGHTS does not")


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


@contextmanager
def started(kind: str, folder: Path) -> Iterator[Servers]:
    """Yield servers of a kind; what was started for it ends with the block.

    WAY has workers find another Redis in place of the one of that kind: several processes that
    Sentinels watch or that are a cluster, or one behind a socket or TLS. POOLER has them find
    PostgreSQL behind a PgBouncer in that mode.
    """
    way, mode = os.environ.get("WAY", ""), os.environ.get("POOLER", "")
    with ExitStack() as made:
        servers = made.enter_context(_started(kind, folder))
        if mode:
            pooler = made.enter_context(_pooler(servers, folder / "pooler", mode))
            servers = replace(servers, database_way=pooler.url)
        if way:
            gathering = made.enter_context(gathered(WAYS[way], folder / "way", PATIENCE_MS))
            nodes = tuple(each.url for each in gathering.servers)
            servers = replace(servers, redis_url=gathering.primary().url, way=gathering.way, nodes=nodes)
        yield servers


@contextmanager
def _pooler(servers: Servers, folder: Path, mode: str) -> Iterator[Pooler]:
    make_directory(folder)
    with pooler_started(servers.database_url, folder, pool_mode=mode) as pooler:
        _await(lambda: postgres_version(pooler.url_of("postgres")))
        yield pooler


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
