"""What `worker status` shows: both servers asked once, a server that is away shown as such."""

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from worker import wire
from worker.bootstrap.parts.connections import database, redis_link, redis_names
from worker.bootstrap.parts.questions import database_state
from worker.domain.deliveries import size_of
from worker.domain.errors import AccessDenied, ConfigurationError, Outage, Refused
from worker.settings import Settings
from worker.status import Away, Consumer, DatabaseSnapshot, Letters, RedisSnapshot, Rules, Snapshot
from worker.store import Database, Sources, StoreInspector, require_postgresql
from worker.stream import DeadLetters, Presence, RedisLink, RedisNames, StreamInspector, require_redis
from worker.stream.status_survey import STUCK_LEASES, Surveyor

MOST_LETTERS = 20_000
MOST_LETTER_BYTES = 33_554_432
MOST_REASONS = 12
MOST_REASON = 40

_Told = TypeVar("_Told")


def snapshot(settings: Settings) -> Snapshot:
    """Return what the streams and the database look like now."""
    with redis_link(settings, "status") as link, database(settings, "status") as opened:
        servers = Servers(
            settings, redis_names(settings), link, opened,
            most_letters=MOST_LETTERS, most_letter_bytes=MOST_LETTER_BYTES,
        )  # fmt: skip
        return servers.snapshot()


class Servers:
    """Both servers, asked over the same connections again and again; so many letters are counted."""

    def __init__(
        self,
        settings: Settings,
        names: RedisNames,
        link: RedisLink,
        opened: Database,
        *,
        most_letters: int,
        most_letter_bytes: int,
    ) -> None:
        self._settings = settings
        self._link = link
        self._names = names
        self._opened = opened
        self._most_letters = most_letters
        self._most_letter_bytes = most_letter_bytes
        self._pending: tuple[str, ...] = ()

    def snapshot(self) -> Snapshot:
        """Return what they tell now; a server that is away is shown as such."""
        # Redis is asked first: it names what is pending, which PostgreSQL is asked about.
        return Snapshot(_rules(self._settings), self._redis(), self._database())

    def _redis(self) -> RedisSnapshot | Away:
        return _asked(partial(require_redis, self._link), self._ask_redis)

    def _database(self) -> DatabaseSnapshot | Away:
        return _asked(partial(require_postgresql, self._opened), self._ask_database)

    def _ask_redis(self, ping_ms: float) -> RedisSnapshot:
        settings = self._settings
        state = StreamInspector(self._link, self._names).state()
        survey = Surveyor(self._link, self._names, lease_ms=settings.lease_ms).survey()
        self._pending = survey.oldest.entry_ids
        said = Presence(self._link, self._names).read(each.name for each in state.consumers)
        return RedisSnapshot(
            ping_ms=ping_ms,
            state=state,
            survey=survey,
            consumers=tuple(
                Consumer.of(each, said.get(each.name), lease_ms=settings.lease_ms, block_ms=settings.block_ms)
                for each in state.consumers
            ),
            letters=_letters(
                DeadLetters(self._link, self._names),
                wire.Spelling(settings.fleet.source),
                self._most_letters,
                self._most_letter_bytes,
            ),
            address=self._link.whereabouts(),
        )

    def _ask_database(self, ping_ms: float) -> DatabaseSnapshot:
        store = StoreInspector(self._opened, self._settings.fleet)
        state = database_state(self._opened, store.state)
        if state.tables is None:
            return DatabaseSnapshot(ping_ms, state, address=self._opened.whereabouts())
        streams = Sources(self._opened, self._settings.fleet).streams()
        return DatabaseSnapshot(
            ping_ms, state, store.outcomes(self._pending), streams, self._opened.whereabouts()
        )


def _asked(ping: Callable[[], None], question: Callable[[float], _Told]) -> _Told | Away:
    """Return what a server tells when given the milliseconds of a ping, or why it can't be used."""
    answers = False
    try:
        # The first connects.
        ping()
        answers = True
        began = time.perf_counter()
        ping()
        return question(round((time.perf_counter() - began) * 1000, 3))
    except Outage as outage:
        return Away(outage.reason, answers=answers, refused=isinstance(outage, AccessDenied))
    except Refused as error:
        return Away(str(error), answers=answers)
    except ConfigurationError as error:
        return Away(str(error), misconfigured=True)


def _rules(settings: Settings) -> Rules:
    return Rules(
        group=settings.group,
        stuck_after_s=STUCK_LEASES * settings.lease_ms / 1000,
        orders_keep_s=settings.orders_keep_s,
        results_maxlen=settings.results_maxlen,
        allow_eviction=settings.allow_eviction,
        allow_volatile=settings.allow_volatile,
    )


def _letters(letters: DeadLetters, spelling: wire.Spelling, most: int, most_bytes: int) -> Letters:
    """Return how many of the newest letters are in which state, by reason."""
    looked_at, size, of_others, everything = 0, 0, 0, False
    counts: dict[str, Counter[str]] = {state: Counter() for state in ("open", "replayed", "discarded")}
    for letter in letters.latest():
        if looked_at == most or size > most_bytes:
            break
        looked_at += 1
        size += size_of(letter.fields)
        if spelling.other_source(letter.fields) is not None:
            of_others += 1
            continue
        counts.setdefault(letter.state, Counter())[wire.read_letter(letter.fields).reason[:MOST_REASON]] += 1
    else:
        everything = True
    by_state = {state: _few(by_reason) for state, by_reason in counts.items()}
    return Letters(looked_at, everything, by_state, of_others)


def _few(by_reason: Counter[str]) -> dict[str, int]:
    """Return the most frequent; whoever writes to the stream may have made up any number of reasons."""
    few = dict(by_reason.most_common(MOST_REASONS))
    rest = by_reason.total() - sum(few.values())
    return few | ({"other": few.get("other", 0) + rest} if rest else {})
