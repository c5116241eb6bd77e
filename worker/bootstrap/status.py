"""What `worker status` shows: both servers asked once, a server that is away shown as such."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from worker import wire
from worker.bootstrap.connections import database, redis_link, redis_names
from worker.bootstrap.questions import questions
from worker.domain.deliveries import size_of
from worker.domain.errors import AccessDenied, ConfigurationError, Outage, Refused
from worker.domain.stream_state import ConsumerState, Survey
from worker.settings import Settings
from worker.store import Sources, StoreInspector, require_postgresql
from worker.stream import DeadLetters, StreamInspector, require_redis
from worker.stream.survey import STUCK_LEASES, Surveyor

MOST_LETTERS = 20_000
MOST_LETTER_BYTES = 33_554_432
MOST_REASONS = 12
MOST_REASON = 40


def snapshot(settings: Settings) -> dict[str, Any]:
    """Return what the streams and the database look like now; the numbers are not of one instant.

    A server that is away has an error instead: `answers` where it takes a ping but not the questions, `refused`
    where it answers, but not to us, `misconfigured` where it can't be used as its URL has it.
    """
    names = redis_names(settings)
    allowed = {"allow_volatile": settings.allow_volatile}
    with redis_link(settings, "status") as link, database(settings, "status") as opened:
        store = StoreInspector(opened, settings.fleet)
        asked = questions(StreamInspector(link, names), store, opened)
        pending: list[str] = []

        def ask_redis() -> dict[str, Any]:
            state = dict(asked["redis"]())
            surveyed = Surveyor(link, names, lease_ms=settings.lease_ms).survey()
            pending.extend(surveyed.oldest.entry_ids)
            return (
                state
                | allowed
                | _consumers(state["consumers"], settings)
                | _surveyed(surveyed, settings)
                | {"letters": _letters(DeadLetters(link, names))}
            )

        def ask_database() -> dict[str, Any]:
            state = dict(asked["database"]()) | allowed
            if "orders" not in state:
                # There may be no tables.
                return state
            streams = Sources(opened, settings.fleet).streams()
            return state | {
                "outcomes": msgspec.to_builtins(store.outcomes(pending)),
                "streams_of_source": streams,
            }

        return {
            "redis": _asked(partial(require_redis, link), ask_redis),
            "database": _asked(partial(require_postgresql, opened), ask_database),
        }


def _asked(ping: Callable[[], None], question: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    answers = False
    try:
        # The first connects.
        ping()
        answers = True
        began = time.perf_counter()
        ping()
        ping_ms = round((time.perf_counter() - began) * 1000, 3)
        return {"connected": True, "ping_ms": ping_ms, **question()}
    except Outage as outage:
        return _away(outage.reason, answers=answers, refused=isinstance(outage, AccessDenied))
    except Refused as error:
        return _away(str(error), answers=answers)
    except ConfigurationError as error:
        return _away(str(error), misconfigured=True)


def _away(
    error: str, *, answers: bool = False, refused: bool = False, misconfigured: bool = False
) -> dict[str, Any]:
    how = {"answers": answers, "refused": refused, "misconfigured": misconfigured}
    return {"connected": False, "error": error, **how}


def _consumers(consumers: list[dict[str, Any]], settings: Settings) -> dict[str, Any]:
    marked = [
        each | {"gone": ConsumerState(**each).is_gone(lease_ms=settings.lease_ms, block_ms=settings.block_ms)}
        for each in consumers
    ]
    replicas = [each for each in marked if ConsumerState(each["name"], 0, 0).is_replica]
    gone = sum(each["gone"] for each in replicas)
    return {"consumers": marked, "consumers_alive": len(replicas) - gone, "consumers_gone": gone}


def _surveyed(found: Survey, settings: Settings) -> dict[str, Any]:
    last = None if found.last_repair is None else msgspec.to_builtins(found.last_repair)
    keep = {"orders_keep_s": settings.orders_keep_s, "results_maxlen": settings.results_maxlen}
    return {
        **msgspec.to_builtins(found.waiting),
        "group": settings.group,
        "allow_eviction": settings.allow_eviction,
        "stuck": found.oldest.stuck,
        "stuck_after_s": STUCK_LEASES * settings.lease_ms / 1000,
        "longest_untouched_s": found.oldest.longest_untouched_s,
        "pending_looked_at": len(found.oldest.entry_ids),
        "lost_unnoticed": found.lost_unnoticed,
        "unknown_results": found.unknown_results,
        "retention": {**msgspec.to_builtins(found.kept), **keep},
        "repair": {"running": found.repairs_running, "last": last},
    }


def _letters(letters: DeadLetters) -> dict[str, Any]:
    """Return how many of the newest letters are in which state, by reason."""
    looked_at, size, everything = 0, 0, False
    counts: dict[str, Counter[str]] = {state: Counter() for state in ("open", "replayed", "discarded")}
    for letter in letters.latest():
        if looked_at == MOST_LETTERS or size > MOST_LETTER_BYTES:
            break
        looked_at += 1
        size += size_of(letter.fields)
        counts.setdefault(letter.state, Counter())[wire.read_letter(letter.fields).reason[:MOST_REASON]] += 1
    else:
        everything = True
    states = {state: _few(by_reason) for state, by_reason in counts.items()}
    return {"looked_at": looked_at, "all": everything, **states}


def _few(by_reason: Counter[str]) -> dict[str, int]:
    """Return the most frequent; whoever writes to the stream may have made up any number of reasons."""
    few = dict(by_reason.most_common(MOST_REASONS))
    rest = by_reason.total() - sum(few.values())
    return few | ({"other": few.get("other", 0) + rest} if rest else {})
