"""What passes by the clock of this host, and whether it agrees with that of Redis."""

import time
from collections.abc import Callable

import structlog

from worker.stream import RedisLink
from worker.stream.link.outages import outages

log = structlog.get_logger(__name__)

# Times of rows are of this host, times of marks and results of Redis: they are compared with a minute between
# them.
APART_S = 30


# It goes on while the machine is suspended, as the clock of Redis does elsewhere; not every system has one.
_PASSING = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def passed() -> float:
    """Return the seconds since some moment: what a lease is judged by."""
    return time.clock_gettime(_PASSING)


def warn_where_apart(link: RedisLink, *, now: Callable[[], float]) -> None:
    """Warn where the clocks are so far apart that what was published may be taken for lost. Raises Outage."""
    asked_at = now()
    with outages():
        seconds, microseconds = map(int, link.call("TIME"))
    answered_at = now()
    theirs = seconds + microseconds / 1_000_000
    # It may have been read at any time between the two.
    ahead_s = max(asked_at - theirs, min(answered_at - theirs, 0.0))
    if abs(ahead_s) > APART_S:
        log.warning(
            "the clock of this host and that of Redis are apart",
            ahead_s=round(ahead_s),
            to_do="set both by NTP: where marks are lost, results of rows dated ahead may go out again",
        )
