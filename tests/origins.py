"""What a run says of its servers at its beginning: name, version, and where each comes from."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import redis

from local import LocalServerMissing
from local.postgres import find_postgres
from local.redis import find_redis
from tests.images import postgres_image, redis_image, version_in
from tests.servers import Choice, choose, kinds_of, postgres_version, redis_version, urls

REDIS = re.compile(r"(Redis|Valkey) server v=([\d.]+)")
PGBOUNCER = re.compile(r"(PgBouncer) ([\d.]+)")
POSTGRES = re.compile(r"\((PostgreSQL)\) ([\d.]+)")


def named(choice: Choice) -> list[str]:
    """Return a line on servers that tests share, one on those they break, others on what is otherwise."""
    shared = _of_urls() if choice.kind == "urls" else _joined(*kinds_of(choice.kind))
    lines = [
        f"servers: {shared} ({choice.kind})",
        f"servers that tests break: {_joined('embedded', 'embedded')}",
    ]
    way = os.environ.get("WAY", "")
    if way:
        lines.append(f"workers find Redis by {way}: {_redis('embedded')}")
    mode = os.environ.get("POOLER", "")
    if mode:
        lines.append(f"workers find PostgreSQL behind a pooler in {mode} mode: {_pooler()}")
    return [*lines, choice.note] if choice.note else lines


def main() -> int:
    """Print what a run would say of its servers; 1 where it can't have them."""
    try:
        sys.stdout.writelines(f"{line}\n" for line in named(choose(os.environ)))
    except (ValueError, LocalServerMissing) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _of_urls() -> str:
    servers = urls()
    try:
        return (
            f"{redis_version(servers.redis_url)} (REDIS_URL), "
            f"{postgres_version(servers.database_url)} (DATABASE_URL)"
        )
    except (redis.RedisError, psycopg.Error, ValueError, OSError) as error:
        # Named by its kind: the text of a driver may show a piece of the URL.
        return f"REDIS_URL, DATABASE_URL, not both of which answer: {type(error).__name__}"


def _joined(of_redis: str, of_postgres: str) -> str:
    try:
        return f"{_redis(of_redis)}, {_postgres(of_postgres)}"
    except LocalServerMissing as error:
        return f"none: {error}"


def _redis(kind: str) -> str:
    if kind == "docker":
        return f"{_version(version_in(redis_image(), 'redis-server').stdout, REDIS)} (image {redis_image()})"
    program = Path(find_redis()[0])
    return f"{_version(_answer(program), REDIS)} ({_source(program)})"


def _pooler() -> str:
    program = shutil.which("pgbouncer")
    if program is None:
        return "none: it is not on PATH"
    return f"{_version(_answer(Path(program)), PGBOUNCER)} ({program})"


def _postgres(kind: str) -> str:
    if kind == "docker":
        image = postgres_image()
        return f"{_version(version_in(image, 'postgres').stdout, POSTGRES)} (image {image})"
    program = find_postgres()[0] / "postgres"
    return f"{_version(_answer(program), POSTGRES)} ({_source(program)})"


def _answer(program: Path) -> str:
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout


def _version(answer: str, pattern: re.Pattern[str]) -> str:
    found = pattern.search(answer)
    return " ".join(found.groups()) if found else "no version"


def _source(program: Path) -> str:
    parts = program.parts
    return f"package {parts[parts.index('site-packages') + 1]}" if "site-packages" in parts else str(program)


if __name__ == "__main__":
    sys.exit(main())
