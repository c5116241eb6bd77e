"""What a run says of its servers at its beginning: name, version, and where each comes from."""

import re
import subprocess
from pathlib import Path

import psycopg
import redis

from local import LocalServerMissing
from local.postgres import find_postgres
from local.redis import find_redis
from tests.servers import (
    Choice,
    postgres_image,
    postgres_version,
    redis_image,
    redis_version,
    urls,
    version_in,
)

REDIS = re.compile(r"(Redis|Valkey) server v=([\d.]+)")
POSTGRES = re.compile(r"\((PostgreSQL)\) ([\d.]+)")


def named(choice: Choice) -> list[str]:
    """Return a line on servers that tests share, one on those they break, one on why there are no others."""
    shared = {"urls": _of_urls, "docker": _of_images, "embedded": _of_programs}[choice.kind]()
    lines = [f"servers: {shared} ({choice.kind})", f"servers that tests break: {_of_programs()}"]
    return [*lines, choice.note] if choice.note else lines


def _of_urls() -> str:
    servers = urls()
    try:
        return f"{redis_version(servers)} (REDIS_URL), {postgres_version(servers)} (DATABASE_URL)"
    except (redis.RedisError, psycopg.Error, ValueError, OSError) as error:
        # Named by its kind: the text of a driver may show a piece of the URL.
        return f"REDIS_URL, DATABASE_URL, not both of which answer: {type(error).__name__}"


def _of_images() -> str:
    store, database = redis_image(), postgres_image()
    return (
        f"{_version(version_in(store, 'redis-server').stdout, REDIS)} (image {store}), "
        f"{_version(version_in(database, 'postgres').stdout, POSTGRES)} (image {database})"
    )


def _of_programs() -> str:
    try:
        store, database = Path(find_redis()[0]), find_postgres()[0] / "postgres"
    except LocalServerMissing as error:
        return f"none: {error}"
    return (
        f"{_version(_answer(store), REDIS)} ({_source(store)}), "
        f"{_version(_answer(database), POSTGRES)} ({_source(database)})"
    )


def _answer(program: Path) -> str:
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout


def _version(answer: str, pattern: re.Pattern[str]) -> str:
    found = pattern.search(answer)
    return " ".join(found.groups()) if found else "no version"


def _source(program: Path) -> str:
    parts = program.parts
    return f"package {parts[parts.index('site-packages') + 1]}" if "site-packages" in parts else str(program)
