"""Puts together what lets rows go, for a replica's own turn and for the command alike."""

import time
from collections.abc import Callable

import structlog

from worker import wire
from worker.domain.deliveries import entry_milliseconds, is_entry_id
from worker.domain.pruning import ComingReplays, KeptFrom, Named
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
    """Of what replays may come, as of some minutes ago at the most.

    A letter that is buried since is of an entry that came since. One that was replayed since was open, and is
    taken for that: only where its replay is of another order than it names are all looked through again.
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
        self._renamed: str | None = None
        self._coming: ComingReplays | None = None

    def coming(self, kept: KeptFrom) -> ComingReplays | None:
        """Return of what they are, where entries may come from a time on.

        None where more than `most` letters would have to be looked through.
        """
        # Asked before they are looked through: what comes meanwhile has them looked through again.
        renamed = self._letters.renamed()
        if self._clock() >= self._known_until or renamed != self._renamed:
            self._coming = self._look(kept)
            self._renamed, self._known_until = renamed, self._clock() + LETTERS_KNOWN_FOR_S
        return self._coming

    def _look(self, kept: KeptFrom) -> ComingReplays | None:
        opened, replayed = _Naming(), _Naming()
        for number, letter in enumerate(self._letters.walk(), start=1):
            if self._most is not None and number > self._most:
                log.warning("rows stay: too many dead letters to look through", most=self._most)
                return None
            closed = letter.closed
            if closed is not None and not _may_come(closed.replayed_as, kept):
                continue
            said = self._spelling.buried(letter.fields)
            if said is not None:
                order_id = wire.read_letter(letter.fields).order_id
                if closed is None:
                    opened.add(said.entry_id, order_id)
                else:
                    replayed.add(said.entry_id, order_id, closed.order_id)
        return ComingReplays(opened.named(), replayed.named())


class _Naming:
    """Gathers what letters name."""

    def __init__(self) -> None:
        self._entries, self._orders = set[str](), set[str]()

    def add(self, entry_id: str, *order_ids: str | None) -> None:
        """Add the entry of a letter, and its orders where they are known."""
        self._entries.add(entry_id)
        self._orders |= {each for each in order_ids if each}

    def named(self) -> Named:
        """Return all of it."""
        return Named(frozenset(self._entries), frozenset(self._orders))


def _may_come(entry_id: str | None, kept: KeptFrom) -> bool:
    """Whether an entry may still be given to a group."""
    return entry_id is not None and is_entry_id(entry_id) and entry_milliseconds(entry_id) >= kept.entries_ms


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
