"""What a replica finds out before its first read, and the room it makes where Redis takes nothing more."""

import time
from collections.abc import Iterator
from contextlib import suppress

import structlog
from msgspec import Struct

from worker.bootstrap.parts import clocks
from worker.bootstrap.parts.beside import Beside
from worker.consumer import Retention
from worker.domain.database_state import SchemaState
from worker.domain.errors import OutOfMemory
from worker.settings import Settings
from worker.store import Database, OrderStore, rehearse, require_fit, schema
from worker.stream import Marks, OrderStream, RedisLink, RedisNames, Rehearsal, demands, require_keeping

log = structlog.get_logger(__name__)

TRIED_AGAIN_EVERY_S = 1.0


class Start(Struct, frozen=True):
    """Everything that a start asks, and may change, before there is a loop."""

    settings: Settings
    names: RedisNames
    link: RedisLink
    database: Database
    stream: OrderStream
    marks: Marks
    beside: Beside
    rows: OrderStore
    retention: Retention

    def prepare(self) -> None:
        """Find out whether everything is there and allowed, and make the group.

        It may be repeated. Raises what a start raises.
        """
        require_fit(self.database)
        if schema.require_current(self.database) is SchemaState.NEWER:
            log.warning("the database schema is newer than this version knows")
        encoding = self.database.partial_encoding()
        if encoding is not None:
            log.warning(
                "the database can't hold all text, an order with other characters is refused",
                encoding=encoding,
            )
        prunes = self.settings.rows_keep_s > 0
        rehearse(self.database, self.settings.fleet, self.names.consumer, prunes=prunes)
        self.rows.look()
        with demands(self.link):
            require_keeping(self.link, allow_eviction=self.settings.allow_eviction)
            self._rehearse()
            clocks.warn_where_apart(self.link, now=time.time)
            self.stream.ensure_group()
        # Before any row is written: of those that are written from now on nobody can have published anything.
        self.stream.marks_made = self.marks.state().made
        self.beside.check()
        self.beside.registration.begin()
        log.info("servers found", redis=self.link.whereabouts(), postgresql=self.database.whereabouts())

    def _rehearse(self) -> None:
        rehearsal = Rehearsal(
            self.link,
            self.names,
            lease_ms=self.settings.lease_ms,
            results_channel=self.settings.results_channel,
        )
        try:
            rehearsal.run()
        except OutOfMemory as full:
            # Perhaps no replica is left that could.
            log.warning("redis takes nothing more, letting go of what nobody needs", reason=full.reason)
            self._make_room(rehearsal)

    def _make_room(self, rehearsal: Rehearsal) -> None:
        """Let go of what nobody needs until Redis takes what is rehearsed.

        Raises OutOfMemory where all of that is gone.
        """
        tried_at = time.monotonic()
        for _ in self._let_go():
            # Others may have made room long before a repair has looked at everything.
            if time.monotonic() - tried_at >= TRIED_AGAIN_EVERY_S:
                with suppress(OutOfMemory):
                    rehearsal.run()
                    return
                tried_at = time.monotonic()
        rehearsal.run()

    def _let_go(self) -> Iterator[None]:
        """Let go of what nobody needs, part by part, but of no mark before the repair has asked for it."""
        self.beside.check()
        repair = self.beside.repair
        while repair.go_on(idle=True):
            yield
        while not repair.under_way and self.retention.tidy_up():
            yield
