"""Puts an audit together, with a repair or without one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from msgspec import Struct

from worker import wire
from worker.bootstrap.connections import database, redis_link, redis_names
from worker.bootstrap.spelling import decoder_of, renderer_of
from worker.consumer import note_of
from worker.consumer.audit import Audit, Remedies
from worker.settings import Settings
from worker.store import StoreEvidence, schema, scratch
from worker.stream import Mending, RedisLink, RedisNames, StreamEvidence


class Auditor(Struct, frozen=True):
    """An audit that has not begun, and what can be done about its findings; nothing, where none is to be changed."""

    audit: Audit
    remedies: Remedies | None
    finish: Callable[[], None]


class Wish(Struct, frozen=True):
    """What is asked of an audit: from when on, and whether to mend, also by publishing again what is gone."""

    since_ms: int
    repair: bool
    republish: bool


@contextmanager
def auditor(settings: Settings, wish: Wish, progress: Callable[[str, int, int], None]) -> Iterator[Auditor]:
    """Open what an audit looks at. Before a repair looks, others are told of it. Raises SchemaBehind."""
    names = redis_names(settings)
    with (
        redis_link(settings, "audit") as link,
        database(settings, "audit") as opened,
        scratch.scratch() as memory,
    ):
        link.ping()
        schema.require_current(opened)
        streams, rows = StreamEvidence(link, names), StoreEvidence(opened, settings.fleet)
        remedies, finish = _remedies(settings, wish, names, link, streams, rows)
        audit = Audit(
            streams, rows, memory, wire.Spelling(settings.fleet.source), decoder_of(settings),
            since_ms=wish.since_ms, results_maxlen=settings.results_maxlen, progress=progress,
        )  # fmt: skip
        yield Auditor(audit, remedies, finish)


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
    renderer = renderer_of(settings, names.consumer)
    remedies = Remedies(mending, streams, rows, renderer, republish=wish.republish, clock=time.monotonic)
    mending.begin()

    def finish() -> None:
        mending.note(note_of(remedies.done, by=names.consumer, how="audit", at=datetime.now(UTC)))
        mending.end()

    return remedies, finish
