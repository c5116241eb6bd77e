"""The benchmark's own servers, fresh and on disk; nothing is measured while anybody else is connected."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import cost
from benchmarks.checks import Found
from benchmarks.errors import NoFigure
from benchmarks.streams import Result, Streams
from benchmarks.tables import Tables
from local import LocalPostgres, LocalRedis

IN_MEMORY = ("tmpfs", "ramfs")
LEAVING_S = 5.0
POLL_S = 0.02
# How durable the servers must be, or the figures would say nothing about real ones.
REDIS_SETTINGS = {"appendonly": "yes", "appendfsync": "everysec"}
POSTGRES_SETTINGS = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


@dataclass(frozen=True)
class Arena:
    """Both servers: `tables` is the database for runs, `held` one for runs that find rows in it."""

    folder: Path
    redis: LocalRedis
    postgres: LocalPostgres
    streams: Streams
    tables: Tables
    held: Tables

    def clear(self, tables: Tables) -> None:
        """Leave nothing of the runs before."""
        self.refuse_strangers()
        self.streams.clear()
        tables.clear()

    def settle_down(self) -> None:
        """Have the servers do now what they would do by themselves in the middle of a run."""
        self.streams.rewrite_log()
        self.tables.checkpoint()

    def refuse_strangers(self) -> None:
        """Return when nobody is connected besides us; raises NoFigure when somebody stays.

        A worker left over from another run would publish into this one, and make a correct design look
        faulty.
        """
        deadline = time.monotonic() + LEAVING_S
        while strangers := self.streams.strangers() + self.tables.strangers():
            if time.monotonic() > deadline:
                raise NoFigure(f"A stranger is connected: {'; '.join(strangers)}.")
            time.sleep(POLL_S)

    def found(self, tables: Tables) -> tuple[Found, list[Result]]:
        """Return what a run has left behind, and its results."""
        results = list(self.streams.results())
        rows, filled = tables.rows()
        found = Found(
            rows=rows,
            filled=filled,
            trades=tables.trades(),
            results=len(results),
            orders_with_result=len({result.order_id for result in results}),
            letters=self.streams.letters(),
            pending=self.streams.pending(),
            unread=self.streams.has_unread(),
        )
        return found, results

    def cpu_seconds(self) -> tuple[float, float]:
        """Return what Redis and PostgreSQL have used so far."""
        return cost.cpu_seconds([self.redis.pid]), cost.cpu_seconds([self.postgres.pid])


@contextmanager
def arena(where: Path) -> Iterator[Arena]:
    """Start both servers in a new folder below `where`, and remove it afterwards.

    Raises NoFigure, LocalServerError.
    """
    if (kind := file_system(where)) in IN_MEMORY:
        raise NoFigure(f"{where} is in memory ({kind}), where fsync costs nothing: --folder names another.")
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="orders-bench-", dir=where)))
        redis, postgres = LocalRedis(folder / "redis"), LocalPostgres(folder / "postgres")
        for server in (redis, postgres):
            server.start()
            opened.callback(server.stop)
        streams = opened.enter_context(closing(Streams(redis.url)))
        tables, held = (
            opened.enter_context(closing(Tables(postgres.url, name, redis.url))) for name in ("bench", "held")
        )
        _require_durability(streams, tables)
        streams.rewrite_log_when_told()
        yield Arena(folder, redis, postgres, streams, tables, held)


def file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Return the kind of file system that a path is on, empty where that can't be told."""
    if not mounts.exists():
        return ""
    parts = path.resolve().parts
    lines = (line.split(" ") for line in mounts.read_text().splitlines())
    above = [
        (len(place), kind)
        for place, kind in ((Path(fields[1]).parts, fields[2]) for fields in lines)
        if parts[: len(place)] == place
    ]
    # The last of several on one place is the one that is seen.
    return max(enumerate(above), key=lambda each: (each[1][0], each[0]))[1][1] if above else ""


def _require_durability(streams: Streams, tables: Tables) -> None:
    for settings, asked in ((REDIS_SETTINGS, streams.setting), (POSTGRES_SETTINGS, tables.setting)):
        for name, due in settings.items():
            if (value := asked(name)) != due:
                raise NoFigure(f"{name} is {value}, not {due}: such figures would say nothing.")
