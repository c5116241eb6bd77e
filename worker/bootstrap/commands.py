"""What the commands beside `run` do."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event

from worker.bootstrap.parts.connections import (
    MIGRATION_CONNECTIONS,
    answering_database,
    answering_redis,
    database,
    redis_names,
)
from worker.bootstrap.parts.patience import Patience
from worker.bootstrap.parts.witnesses import witnesses_of
from worker.bootstrap.story import Narrator
from worker.settings import Settings
from worker.store import require_fit
from worker.store.schema import require_current, require_way, standing
from worker.stream import PendingEntries, Submitter


def migrate(settings: Settings, revision: str = "head") -> None:
    """Bring the schema up, once the server is there; safe however many do so at once.

    Raises ConfigurationError where something is in its way.
    """
    # Nobody else needs alembic, its 8 MB and its time to load.
    from worker.store import migrations  # noqa: PLC0415

    with database(settings, "migrate", MIGRATION_CONNECTIONS) as opened:
        Patience(settings.start_timeout_s, Event(), bool).until_done(partial(require_fit, opened))
        migrations.upgrade(opened, revision)


def await_schema(settings: Settings, limit_s: float) -> None:
    """Return once the schema is that of this version or newer, whoever brings it there.

    Raises SchemaBehind, or the last Outage, when so many seconds have passed; ConfigurationError at once.
    """
    with database(settings, "migrate", MIGRATION_CONNECTIONS) as opened:
        Patience(limit_s, Event(), bool, for_schema=True).until_done(partial(require_current, opened))


def schema(settings: Settings) -> str:
    """Return where the schema stands against this version: current, behind or newer.

    Raises ConfigurationError where something is in its way.
    """
    with answering_database(settings, "migrate") as opened:
        found = standing(opened)
    require_way(found)
    return found.state.value


@contextmanager
def submitter(settings: Settings) -> Iterator[Submitter]:
    """Open the orders stream for adding to it."""
    with answering_redis(settings, "submit") as link:
        yield Submitter(link, settings.orders_stream)


@contextmanager
def pending_entries(settings: Settings) -> Iterator[PendingEntries]:
    """Open the pending list of the group."""
    with answering_redis(settings, "pending") as link:
        yield PendingEntries(link, redis_names(settings), lease_ms=settings.lease_ms)


@contextmanager
def narrator(settings: Settings) -> Iterator[Narrator]:
    """Open everything that is asked about one order."""
    with answering_redis(settings, "show") as link, answering_database(settings, "show") as opened:
        require_current(opened)
        yield Narrator(witnesses_of(settings, link, opened))
