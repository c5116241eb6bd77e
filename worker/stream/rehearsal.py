"""Runs every command of every script of a replica once, on scratch keys.

These match the same patterns as the real ones.
"""

import time

import structlog

from worker.domain.deliveries import BEGINNING, Restoration, Settlement
from worker.domain.errors import Outage
from worker.domain.evidence import LostRow
from worker.domain.letters import DISCARDED, LetterState
from worker.domain.stream_state import StreamState
from worker.stream.audit_pages import StreamEvidence
from worker.stream.closed_letters import ClosedLetters
from worker.stream.dead_letters import DeadLetters
from worker.stream.figures import Figures
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import GroupLost, outages
from worker.stream.link.permission import require_publishing
from worker.stream.lost_rows import LostRowsBook
from worker.stream.marks import Marks
from worker.stream.mending import Mending
from worker.stream.names import RedisNames
from worker.stream.orders import OrderStream
from worker.stream.page_state import StreamInspector
from worker.stream.scripts import source
from worker.stream.token import StreamToken

log = structlog.get_logger(__name__)

_PROBE = "probe"
_LONG_AGO = "2000-01-01T00:00:00Z"
# Far below any real id, so that retention lets go of all of it.
TRIMMED, PUBLISHED, BURIED, LOST, LOOKED_FOR, ADOPTED = "1-1", "2-1", "3-1", "5-1", "6-1", "7-1"


class Rehearsal:
    """A missing permission shows at start, before the first order. Raises Outage."""

    def __init__(
        self, link: RedisLink, names: RedisNames, *, lease_ms: int, results_channel: str | None
    ) -> None:
        self._link = link
        self._names = names.scratch(f"{time.time_ns():x}-{names.consumer}")
        self._channel = results_channel
        # Marks are dropped at once, so that all it takes is rehearsed.
        self._stage = OrderStream(link, self._names, lease_ms=lease_ms, results_channel=None, marks_stay_ms=0)
        self._mending = Mending(link, self._names, lease_ms=lease_ms, results_channel=None)
        self._evidence = StreamEvidence(link, self._names)
        self._marks = Marks(link, self._names, lease_ms=lease_ms)
        self._lost_rows = LostRowsBook(link, self._names, lease_ms=lease_ms)
        self._letters, self._closed = DeadLetters(link, self._names), ClosedLetters(link, self._names)
        self._token = StreamToken(link, self._names)

    def run(self) -> None:
        """Rehearse; whatever comes of it, the scratch keys go again."""
        names = self._names
        keys = [names.orders, names.results, names.dead_letters, names.settled, names.trimmed, names.lost]
        keys += [names.repaired, names.settled_before, names.unknown, names.walk, names.token]
        keys += [names.set_aside, names.repairs, names.published_again, names.results_token]
        keys += [names.lost_rows, names.accepted_rows, names.look, names.looks, names.looking]
        keys += [names.letter_states, names.figures(_PROBE), names.counting(_PROBE), f"{names.looks}:1"]
        require_publishing(self._link, self._channel)
        self._stage.ping()
        with outages():
            # They may all be known, and are not any more once the server has been started again.
            self._link.call("SCRIPT", "LOAD", source("leave"))
        try:
            self._work()
            self._let_go()
            self._repair()
            self._look()
            self._stage.leave()
        finally:
            try:
                with outages():
                    self._link.call("DEL", *keys)
            except (Outage, GroupLost):
                log.warning("probe keys left behind", keys=keys)

    def _work(self) -> None:
        names, stage = self._names, self._stage
        with outages():
            self._link.call("XGROUP", "CREATE", names.orders, names.group, BEGINNING, "MKSTREAM")
            for entry_id in (TRIMMED, PUBLISHED, BURIED):
                self._link.call("XADD", names.orders, entry_id, "type", "probe")
        stage.read(3, 1)
        stage.release({TRIMMED: 0})
        with outages():
            self._link.call("XTRIM", names.orders, "MINID", PUBLISHED)
        stage.begin_look()
        stage.claim(BEGINNING, 1)
        stage.end_look()
        stage.own_pending(2, known=())
        stage.fetch({TRIMMED: None, PUBLISHED: 1})
        stage.charge({PUBLISHED: 1})
        stage.trimmed(1)
        stage.set_aside([PUBLISHED])
        stage.settle(
            [
                Settlement(PUBLISHED, "publish", ("type", "probe"), ""),
                Settlement(BURIED, "bury", ("type", b"\xff")),
                Settlement(TRIMMED, "ack"),
            ]
        )

    def _let_go(self) -> None:
        names = self._names
        self._stage.retain(keep_ms=1, most_results=1)
        count = StreamInspector(self._link, names).state
        figures = Figures(self._link, names, _PROBE, StreamState, count, every_s=lambda: 0.0)
        for _ in range(2):
            figures.read()
        with outages():
            self._link.call("XADD", names.orders, "4-1", "type", "probe")
            self._link.call("XTRIM", names.orders, "MAXLEN", 0)
            self._link.call("XGROUP", "CREATECONSUMER", names.orders, names.group, f"{names.consumer}-gone")
        letter = next(self._letters.walk(), None)
        if letter is not None:
            self._letters.discard(letter.letter_id, LetterState(DISCARDED, _PROBE, _LONG_AGO))
        self._closed.let_go(0)
        self._stage.lost_unread()
        self._stage.remove_dead(0)

    def _repair(self) -> None:
        self._evidence.fates([LOST])
        self._evidence.entries([LOST])
        self._evidence.results_lost_until_ms()
        self._marks.begin_walk()
        self._marks.remember([LOOKED_FOR], self._marks.state())
        self._marks.end_walk()
        self._token.token()
        self._token.results_token()
        self._mending.restore([Restoration(LOST, "publish", ("type", "probe"))])
        self._mending.note({"how": "probe"})
        self._mending.begin()
        self._mending.go_on()
        with outages():
            self._link.call("XADD", self._names.orders, ADOPTED, "type", "probe")
        self._mending.readopt([ADOPTED])
        self._mending.restore([Restoration(LOST, "publish", ("type", "probe"), again=True)])
        self._mending.end()

    def _look(self) -> None:
        # The same rounds are made of repairs, and the turn is that of all the others.
        book = self._lost_rows
        self._evidence.last_result()
        next(self._evidence.result_pages("0-0", "+"), None)
        for _ in range(2):
            book.rounds.take_turn()
        book.rounds.ended()
        book.rounds.begun()
        book.end(book.rounds.begin(), 0)
        book.note([LostRow(LOST, LOST, LOST)])
        book.take_back(book.page(0))
        book.rounds.end_turn()
