"""What a replica logs of servers that may lose what they were given: at its start, and at each change."""

from collections.abc import Callable

import structlog

from worker.domain.database_state import DatabaseState
from worker.domain.stream_state import StreamState

log = structlog.get_logger(__name__)


class _Setting:
    """Tells of one setting where it is not as it should be, and where nobody may ask.

    It only tells: nobody is better off without this replica.
    """

    def __init__(self, so: str, not_known: str = "") -> None:
        self._so = so
        self._not_known = not_known
        self._before: str | None = ""

    def tell(self, now: str | None) -> None:
        if now == self._before:
            return
        self._before = now
        if now:
            log.warning(self._so, setting=now)
        elif now is None:
            log.info(self._not_known, why="INFO and CONFIG are denied")


def telling_of_redis(question: Callable[[], StreamState]) -> Callable[[], StreamState]:
    """Return a question that tells the log of what it has found."""
    eviction = _Setting(
        "redis may evict orders that nobody has executed", "whether redis may evict orders is not known"
    )
    volatile = _Setting(
        "redis may lose what it has acknowledged", "whether redis keeps what it acknowledges is not known"
    )

    def ask_and_tell() -> StreamState:
        found = question()
        eviction.tell(found.eviction)
        volatile.tell(found.volatile)
        return found

    return ask_and_tell


def telling_of_database(question: Callable[[], DatabaseState]) -> Callable[[], DatabaseState]:
    """Return a question that tells the log of what it has found."""
    volatile = _Setting("postgresql may lose what it has committed")

    def ask_and_tell() -> DatabaseState:
        found = question()
        if found.tables is not None:
            volatile.tell(found.tables.volatile)
        return found

    return ask_and_tell
