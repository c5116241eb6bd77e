"""Whoever is asked about the life of one order."""

from msgspec import Struct

from worker import wire
from worker.bootstrap.parts.connections import redis_names
from worker.bootstrap.parts.spelling import decoder_of, hiding_of
from worker.settings import Settings
from worker.store import Database, StoreEvidence, StoreInspector
from worker.stream import DeadLetters, PendingEntries, RedisLink, StreamEvidence, Trail


class Witnesses(Struct, frozen=True):
    """Whoever knows something of the life of an order."""

    trail: Trail
    evidence: StreamEvidence
    letters: DeadLetters
    pending: PendingEntries
    store: StoreInspector
    rows: StoreEvidence
    decoder: wire.Decoder
    hiding: wire.Hiding
    source: str
    lease_ms: int
    results_maxlen: int


def witnesses_of(settings: Settings, link: RedisLink, database: Database) -> Witnesses:
    """Return those who are asked over connections to both servers."""
    names = redis_names(settings)
    return Witnesses(
        trail=Trail(link, names),
        evidence=StreamEvidence(link, names),
        letters=DeadLetters(link, names),
        pending=PendingEntries(link, names, lease_ms=settings.lease_ms),
        store=StoreInspector(database, settings.fleet),
        rows=StoreEvidence(database, settings.fleet),
        decoder=decoder_of(settings),
        hiding=hiding_of(settings),
        source=settings.fleet.source,
        lease_ms=settings.lease_ms,
        results_maxlen=settings.results_maxlen,
    )
