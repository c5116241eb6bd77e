"""Puts together what lets rows go at a person's word, and what writes them to files before."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from worker.bootstrap.parts.connections import answering_database, answering_redis, redis_names
from worker.bootstrap.parts.pruning import prune_of
from worker.pruning import Archive, Prune
from worker.settings import Settings
from worker.store import RowsToExport, RowsToPrune, rehearse_pruning
from worker.store.schema import require_current

# Beyond this nobody learns anything from a count.
MOST_COUNTED = 10_000


class Pruner(Struct, frozen=True):
    """A walk through rows, and what is asked of those that are too young for it."""

    prune: Prune
    rows: RowsToPrune

    def younger(self, until: datetime, before: datetime) -> int:
        """Return how many rows were recorded between two times, MOST_COUNTED where there are more."""
        return self.rows.count(until, before, MOST_COUNTED) if until < before else 0


@contextmanager
def pruner(settings: Settings, exported: Path | None) -> Iterator[Pruner]:
    """Open both servers.

    Raises SchemaBehind, and ConfigurationError where files of `exported` are not as they were written.
    """
    archive = None if exported is None else Archive.opened(exported, source=settings.fleet.source)
    names = redis_names(settings)
    with answering_redis(settings, "prune") as link, answering_database(settings, "prune") as opened:
        require_current(opened)
        rehearse_pruning(opened, settings.fleet, names.consumer)
        yield Pruner(
            prune_of(settings, names, link, opened, exported=archive), RowsToPrune(opened, settings.fleet)
        )


@contextmanager
def rows_to_export(settings: Settings) -> Iterator[RowsToExport]:
    """Open the rows of the settings' source. Raises SchemaBehind."""
    with answering_database(settings, "export") as opened:
        require_current(opened)
        yield RowsToExport(opened, settings.fleet)
