"""The servers of a storm, with a schema that every version in it can work on."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from local import LocalPostgres, LocalRedis
from tests.faults.flow import drain
from tests.faults.versions import last
from tests.fleets import small_order
from tests.harness import Deployment, Servers, eventually
from tests.processes import ROOT, workers

LONG_AGO_MS = 600_000
FEW = 10


@contextmanager
def own_servers(
    folder: Path, fleets: int = 1, trees: Sequence[Path] = (ROOT,)
) -> Iterator[tuple[list[Deployment], LocalRedis, LocalPostgres]]:
    """Start servers that may be killed, for fleets that share them. Redis syncs each write before it answers.

    The schema is migrated by the version in each tree, the oldest first, as upgrades would have done. Each
    but the newest has been at work long before.
    """
    store = LocalRedis(folder / "redis", {"appendfsync": "always"})
    database = LocalPostgres(folder / "postgres")
    try:
        store.start()
        database.start()
        servers = Servers(store.url, database.url)
        with ExitStack() as opened:
            made = [
                opened.enter_context(Deployment(servers, f"storm-{number}", "postgres"))
                for number in range(fleets)
            ]
            for tree in trees:
                last.migrate(tree, made[0])
                if tree != trees[-1]:
                    _settle_long_ago(made[0], tree, folder)
            yield made, store, database
    finally:
        store.stop()
        database.stop()


def _settle_long_ago(deployment: Deployment, tree: Path, folder: Path) -> None:
    """Have the version in a tree settle a few orders, with ids as if that had been long ago.

    Before Redis 7.0 nobody counts what was deleted: of rows from the first minute of a results stream, as
    those of a storm would be, this version could not know whether the last one has published them, and would
    leave them to a person.
    """
    then = time.time_ns() // 1_000_000 - LONG_AGO_MS
    made = [small_order(f"long-ago-{number}") for number in range(FEW)]
    deployment.submit(made, under=[f"{then}-{number}" for number in range(FEW)])
    with workers(deployment, folder, 1, tree) as (replica,):
        eventually(deployment.all_settled)
        drain(replica)
    results: Any = deployment.redis.xrange(deployment.results)
    with deployment.redis.pipeline(transaction=True) as pipeline:
        pipeline.delete(deployment.results)
        for number, (_, fields) in enumerate(results):
            pipeline.xadd(deployment.results, fields, id=f"{then + 1}-{number}")
        pipeline.execute()
