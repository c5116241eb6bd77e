"""Puts together what lets rows go, for a replica's own turn and for the command alike."""

import time
from collections.abc import Callable

import structlog

from worker import wire
from worker.domain.pruning import OpenLetters
from worker.pruning import OwnTurn, Prune
from worker.pruning.ports import Exported
from worker.settings import Settings
from worker.store import Database, RowsToPrune
from worker.stream import Coming, DeadLetters, RedisLink, RedisNames, StreamEvidence, Turn

log = structlog.get_logger(__name__)

# So it may be anybody's whose next round is due then.
TURN_S = 8.0
# A replica has orders to do: where more letters are kept, rows that say DEAD are left to the command.
MOST_LETTERS = 10_000
LETTERS_KNOWN_FOR_S = 600.0


class LettersLately:
    """The open dead letters, as of some minutes ago at the most.

    One that is buried since is of an entry that came since, and one that was closed since waits.
    """

    def __init__(
        self,
        letters: DeadLetters,
        spelling: wire.Spelling,
        *,
        most: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._letters = letters
        self._spelling = spelling
        self._most = most
        self._clock = clock
        self._known_until = clock()
        self._open: OpenLetters | None = None

    def open(self) -> OpenLetters | None:
        """Return of what they are; None where more than `most` letters would have to be looked through."""
        if self._clock() >= self._known_until:
            self._open = self._look()
            self._known_until = self._clock() + LETTERS_KNOWN_FOR_S
        return self._open

    def _look(self) -> OpenLetters | None:
        entries, orders = set[str](), set[str]()
        for number, letter in enumerate(self._letters.walk(), start=1):
            if self._most is not None and number > self._most:
                log.warning("rows stay: too many dead letters to look through", most=self._most)
                return None
            said = self._spelling.buried(letter.fields) if letter.closed is None else None
            if said is not None:
                entries.add(said.entry_id)
                order_id = wire.read_letter(letter.fields).order_id
                orders |= {order_id} if order_id else set()
        return OpenLetters(frozenset(entries), frozenset(orders))


class Streams:
    """Where entries stand, and from when on they may come again."""

    def __init__(self, link: RedisLink, names: RedisNames) -> None:
        self.kept_from = Coming(link, names).kept_from
        self.fates = StreamEvidence(link, names).fates


def prune_of(
    settings: Settings,
    names: RedisNames,
    link: RedisLink,
    opened: Database,
    *,
    most_letters: int | None = None,
    exported: Exported | None = None,
) -> Prune:
    """Return a walk through the rows of these settings' source."""
    letters = LettersLately(DeadLetters(link, names), wire.Spelling(settings.fleet.source), most=most_letters)
    return Prune(
        Streams(link, names), RowsToPrune(opened, settings.fleet), letters,
        window_s=settings.window_s, exported=exported,
    )  # fmt: skip


def own_turn(settings: Settings, names: RedisNames, link: RedisLink, opened: Database) -> OwnTurn:
    """Return a replica's own turn."""
    return OwnTurn(
        prune_of(settings, names, link, opened, most_letters=MOST_LETTERS),
        RowsToPrune(opened, settings.fleet),
        Turn(link, names.pruning, names.consumer, lease_ms=round(TURN_S * 1000)),
        keep_s=settings.rows_keep_s, clock=time.monotonic,
    )  # fmt: skip
