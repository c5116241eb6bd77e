"""What the commands beside `run` do."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event

from msgspec import Struct

from worker import wire
from worker.bootstrap.parts.connections import (
    MIGRATION_CONNECTIONS,
    answering_database,
    answering_redis,
    database,
    redis_names,
)
from worker.bootstrap.parts.patience import Patience
from worker.bootstrap.parts.spelling import decoder_of, hiding_of
from worker.settings import Settings
from worker.store import StoreInspector, require_fit
from worker.store.schema import require_current, require_way, standing
from worker.stream import DeadLetters, PendingEntries, StreamEvidence, Submitter, Trail


class Witnesses(Struct, frozen=True):
    """Whoever knows something of the life of an order."""

    trail: Trail
    evidence: StreamEvidence
    letters: DeadLetters
    pending: PendingEntries
    store: StoreInspector
    decoder: wire.Decoder
    hiding: wire.Hiding
    source: str


def migrate(settings: Settings, revision: str = "head") -> None:
    """Bring the schema up, once the server is there; safe however many do so at once.

    Raises ConfigurationError where something is in its way.
    """
    # Nobody else needs alembic, its 8 MB and its time to load.
    from worker.store import migrations  # noqa: PLC0415

    with database(settings, "migrate", MIGRATION_CONNECTIONS) as opened:
        Patience(settings.start_timeout_s, Event(), bool).until_done(partial(require_fit, opened))
        migrations.upgrade(opened, revision)


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
def witnesses(settings: Settings) -> Iterator[Witnesses]:
    """Open everything that is asked about one order."""
    names = redis_names(settings)
    with answering_redis(settings, "show") as link, answering_database(settings, "show") as opened:
        require_current(opened)
        yield Witnesses(
            trail=Trail(link, names),
            evidence=StreamEvidence(link, names),
            letters=DeadLetters(link, names),
            pending=PendingEntries(link, names, lease_ms=settings.lease_ms),
            store=StoreInspector(opened, settings.fleet),
            decoder=decoder_of(settings),
            hiding=hiding_of(settings),
            source=settings.fleet.source,
        )
