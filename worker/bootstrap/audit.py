"""Puts an audit together, with a repair or without one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from msgspec import Struct

from worker import wire
from worker.bootstrap.parts.connections import answering_database, answering_redis, redis_names
from worker.bootstrap.parts.spelling import decoder_of, renderer_of
from worker.domain.errors import ConfigurationError
from worker.repair import Audit, Remedies, note_of
from worker.settings import Settings
from worker.store import StoreEvidence, schema, scratch
from worker.stream import Mending, RedisLink, RedisNames, StreamEvidence, require_publishing


class Auditor(Struct, frozen=True):
    """An audit not begun yet, and what can be done about its findings; nothing, where none is to be changed.

    `streams` is how many orders streams were worked on lately as the source that is audited.
    """

    audit: Audit
    remedies: Remedies | None
    finish: Callable[[], None]
    streams: int = 1


class Wish(Struct, frozen=True):
    """What is asked of an audit: from when on, and whether to mend, also by publishing again what is gone.

    `unsourced` rows whose entries are gone are taken for rows of this fleet.
    """

    since_ms: int
    repair: bool
    republish: bool
    unsourced: bool = False


@contextmanager
def audit_of(settings: Settings, wish: Wish, progress: Callable[[str, int, int], None]) -> Iterator[Auditor]:
    """Open what an audit looks at. Before a repair looks, others are told of it.

    Raises SchemaBehind, and ConfigurationError where a repair can't tell whose rows it sees.
    """
    names = redis_names(settings)
    with (
        answering_redis(settings, "audit") as link,
        answering_database(settings, "audit") as opened,
        scratch.scratch() as memory,
    ):
        schema.require_current(opened)
        streams, rows = StreamEvidence(link, names), StoreEvidence(opened, settings.fleet)
        lately = rows.streams_lately()
        if wish.repair and lately > 1:
            raise ConfigurationError(f"WORKER_SOURCE: {told_apart_by_nothing(settings, lately)}")
        remedies, finish = _remedies(settings, wish, names, link, streams, rows)
        audit = Audit(
            streams, rows, memory, wire.Spelling(settings.fleet.source), decoder_of(settings),
            since_ms=wish.since_ms, results_maxlen=settings.results_maxlen, progress=progress,
            unsourced=wish.unsourced,
        )  # fmt: skip
        yield Auditor(audit, remedies, finish, lately)


def told_apart_by_nothing(settings: Settings, streams: int) -> str:
    """Return what to say where several streams are worked on as one source."""
    return (
        f"{streams} orders streams were worked on as the source {settings.fleet.source!r} in the last minute,"
        " and their rows are told apart by nothing: give each fleet a WORKER_SOURCE of its own;"
        " if one has taken the place of another, wait a minute"
    )


def _remedies(
    settings: Settings,
    wish: Wish,
    names: RedisNames,
    link: RedisLink,
    streams: StreamEvidence,
    rows: StoreEvidence,
) -> tuple[Remedies | None, Callable[[], None]]:
    if not wish.repair:
        return None, lambda: None
    mending = Mending(link, names, lease_ms=settings.lease_ms, results_channel=settings.results_channel)
    require_publishing(link, settings.results_channel)
    renderer = renderer_of(settings, names.consumer)
    remedies = Remedies(
        mending, streams, rows, renderer, decoder_of(settings),
        republish=wish.republish, clock=time.monotonic,
    )  # fmt: skip
    mending.begin()

    def finish() -> None:
        mending.note(note_of(remedies.done, by=names.consumer, how="audit", at=datetime.now(UTC)))
        mending.end()

    return remedies, finish
