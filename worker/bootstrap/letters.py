"""Reads, previews and closes dead letters, for the command line and the pages alike."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from worker import wire
from worker.bootstrap.parts.connections import answering_redis, database, redis_names
from worker.bootstrap.parts.foresight import Foresight
from worker.bootstrap.parts.showing import ALL, Showing, Sizes
from worker.bootstrap.parts.spelling import decoder_of, hiding_of
from worker.domain.letters import DISCARDED, REPLAYED, LetterState
from worker.domain.orders import DeadReason
from worker.domain.times import utc_text
from worker.settings import Settings
from worker.status.letters import (
    ClosingOutcome,
    LetterInFull,
    LetterLine,
    LetterPage,
    Outcome,
    Wanted,
)
from worker.store import Database, StoreInspector
from worker.stream import Closing, DeadLetters, RedisLink, StoredLetter

GONE = "there is no such dead letter: `worker dead list --state all` has them"
# Of a stream with any number of letters so many are looked at for one page, the newest.
MOST_LOOKED_AT = 2000


class LetterDesk:
    """Knows the dead letters, and what became of the orders in them. Raises Outage where Redis is away.

    What is hidden by name is hidden in all that it returns. Where PostgreSQL is away it says so in words.
    """

    def __init__(
        self,
        letters: DeadLetters,
        decoder: wire.Decoder,
        showing: Showing,
        foresight: Foresight,
        *,
        sizes: Sizes = ALL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._letters = letters
        self._decoder = decoder
        self._showing = showing
        self._foresight = foresight
        self._sizes = sizes
        self._clock = clock

    def walk(self, wanted: Wanted) -> Iterator[LetterLine]:
        """Yield all letters that are wanted, oldest first."""
        return map(self._showing.line, filter(self._fitting(wanted), self._letters.walk(wanted.since_ms)))

    def page(
        self, wanted: Wanted, *, behind: str | None, count: int, most: int = MOST_LOOKED_AT
    ) -> LetterPage:
        """Return at most so many of the letters that are wanted, newest first, from behind a letter on.

        At most `most` letters are looked at; `go_on_from` says where to look on.
        """
        found = self._letters.newest(
            self._fitting(wanted), behind=behind, since_ms=wanted.since_ms, count=count, most=most
        )
        return LetterPage(tuple(map(self._showing.line, found.letters)), found.looked_at, found.go_on_from)

    def in_full(self, letter_id: str) -> LetterInFull | None:
        """Return all that is known of a letter; None where there is none of this id."""
        stored = self._letters.find(letter_id)
        if stored is None:
            return None
        letter, line = wire.read_letter(stored.fields), self._showing.line(stored)
        shown, left_out = self._showing.fields(letter.originals, self._sizes)
        if line.not_ours is not None:
            # Neither our settings nor our rows tell what becomes of it.
            return LetterInFull(line, shown, left_out)
        return LetterInFull(
            line,
            shown,
            left_out,
            self._foresight.comparison(letter) if letter.reason == DeadReason.CONFLICT else None,
            self._foresight.preview(letter, self._sizes) if stored.closed is None else None,
        )

    def replay(
        self,
        letter_id: str,
        by: str,
        *,
        edits: Mapping[str, str] | None = None,
        fresh: bool = False,
        dry_run: bool = False,
    ) -> ClosingOutcome:
        """Add the order of a letter again, with fields edited, and close the letter; both once, ever.

        A letter of another fleet is refused: its order is none of our stream.
        `fresh` dates the order from now, unless the edits say when.
        """
        edited = dict(edits or {})

        def close(stored: StoredLetter) -> Closing | None:
            stamped = {"timestamp": str(int(self._clock()))} if fresh else {}
            letter = wire.read_letter(stored.fields)
            made = wire.replay_of(letter, stamped | edited, self._decoder)
            if dry_run:
                return None
            # Not where the time was set by hand.
            fresh_now = fresh and "timestamp" not in edited
            renamed = None if made.order_id == letter.order_id else made.order_id
            state = LetterState(REPLAYED, by, self._now(), made.changed, fresh=fresh_now, order_id=renamed)
            return self._letters.replay(letter_id, state, made.fields)

        return self._close(letter_id, REPLAYED, close)

    def discard(self, letter_id: str, by: str, *, dry_run: bool = False) -> ClosingOutcome:
        """Close a letter without adding anything, once, ever; one of another fleet is refused."""

        def close(_stored: StoredLetter) -> Closing | None:
            state = LetterState(DISCARDED, by, self._now())
            return None if dry_run else self._letters.discard(letter_id, state)

        return self._close(letter_id, DISCARDED, close)

    def _close(
        self, letter_id: str, closes_as: str, close: Callable[[StoredLetter], Closing | None]
    ) -> ClosingOutcome:
        stored = self._letters.find(letter_id)
        why = GONE if stored is None else self._showing.line(stored).not_ours
        if stored is None or why is not None:
            return ClosingOutcome(letter_id, Outcome.REFUSED, why=why or GONE)
        try:
            closing = close(stored) if stored.closed is None else Closing(False, stored.closed)
        except wire.NotReplayable as refused:
            why = self._showing.told(str(refused), wire.read_letter(stored.fields).originals)
            return ClosingOutcome(letter_id, Outcome.REFUSED, why=why)
        if closing is None:
            return ClosingOutcome(letter_id, Outcome.DONE)
        if closing.state is None:
            return ClosingOutcome(letter_id, Outcome.REFUSED, why=GONE)
        if closing.ours:
            return ClosingOutcome(letter_id, Outcome.DONE, closing.state.replayed_as)
        outcome = Outcome.ALREADY if closing.state.state == closes_as else Outcome.REFUSED
        return ClosingOutcome(letter_id, outcome, why=self._showing.closed(closing.state).how)

    def _fitting(self, wanted: Wanted) -> Callable[[StoredLetter], bool]:
        return lambda letter: wanted.fits(
            letter.state, wire.read_letter(letter.fields).reason, self._showing.other_source(letter.fields)
        )

    def _now(self) -> str:
        return utc_text(datetime.fromtimestamp(self._clock(), UTC))


@contextmanager
def letter_desk(settings: Settings) -> Iterator[LetterDesk]:
    """Open the dead letters, the orders stream to replay them to, and the table to compare them with."""
    with answering_redis(settings, "dead") as link, database(settings, "dead") as opened:
        yield desk_of(settings, link, opened)


def desk_of(settings: Settings, link: RedisLink, opened: Database, *, sizes: Sizes = ALL) -> LetterDesk:
    """Return the desk of these settings on connections that are open."""
    decoder = decoder_of(settings)
    showing = Showing(hiding_of(settings), wire.Spelling(settings.fleet.source))
    foresight = Foresight(
        StoreInspector(opened, settings.fleet),
        decoder,
        showing,
        max_deliveries=settings.max_deliveries,
        max_order_age_s=settings.max_order_age_s,
    )
    return LetterDesk(DeadLetters(link, redis_names(settings)), decoder, showing, foresight, sizes=sizes)
