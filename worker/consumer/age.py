"""Whether an order comes in time to be executed."""

import re
from datetime import UTC, datetime

import structlog

from worker.domain.deliveries import entry_milliseconds
from worker.domain.orders import Order, Undecodable, UnsoundOrder

log = structlog.get_logger(__name__)

AHEAD_S = 60

# A decimal number as programs write one; a float of nanoseconds has an exponent.
_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,20})?(?:[eE]\+?[0-9]{1,2})?", re.ASCII)
# Date and time of day as ISO 8601 spells them, with a zone or in UTC.
_ISO_8601 = re.compile(
    r"[0-9]{4}[0-9W-]{3,6}[T ][0-9:]{2,8}(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9:]{2,8})?", re.ASCII
)
# Eleven digits of seconds reach the year 5138, and so do three more of each smaller unit, which begin in
# 1973.
_UNITS = ((1e11, 1.0), (1e14, 1e-3), (1e17, 1e-6), (1e20, 1e-9))


def unix_seconds(stamp: str) -> float | None:
    """Return what a producer's stamp says, in unix seconds; None where it can't be read.

    A stamp is unix time in s, ms, us or ns, told apart by its size, or ISO 8601.
    """
    if _NUMBER.fullmatch(stamp):
        number = float(stamp)
        return next((number * unit for limit, unit in _UNITS if number < limit), None)
    # RFC 3339 allows small letters.
    spelled = stamp.upper()
    if not stamp.isascii() or not _ISO_8601.fullmatch(spelled):
        return None
    try:
        at = datetime.fromisoformat(spelled)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def out_of_time(order: Order, now: datetime, max_age_s: float) -> str | None:
    """Return why an order may not be executed at this time, or None where it may.

    Its age is that of its timestamp or of its entry id, whichever is older: a producer that stamps an order
    and then hangs, and an entry that has waited in the stream, are both too late. A timestamp that can't be
    read says nothing.
    """
    age_s = now.timestamp() - entry_milliseconds(order.entry_id) / 1000
    stamp = order.labels.timestamp
    at_s = None if stamp is None else unix_seconds(stamp)
    if at_s is not None:
        stamp_age_s = now.timestamp() - at_s
        if stamp_age_s < -AHEAD_S:
            return f"timestamp is {-stamp_age_s:.0f} s ahead, at most {AHEAD_S} s are allowed"
        age_s = max(age_s, stamp_age_s)
    if age_s > max_age_s:
        return f"order is {age_s:.0f} s old, at most {max_age_s:g} s are allowed"
    return None


class Stamps:
    """Counts the stamps that can't be read where ages are limited: then the entry id alone decides."""

    def __init__(self, max_age_s: float) -> None:
        self._limited = max_age_s > 0
        self.unreadable = 0

    def look(self, order: Order | UnsoundOrder | Undecodable) -> None:
        """Look at an order that came; tell of the first, and then whenever there are ten times as many."""
        if not self._limited or not isinstance(order, Order):
            return
        stamp = order.labels.timestamp
        if stamp is None or unix_seconds(stamp) is not None:
            return
        self.unreadable += 1
        if str(self.unreadable).strip("0") == "1":
            log.warning(
                "timestamps that can't be read, the entry id alone says how old these orders are",
                orders=self.unreadable,
                order_id=order.order_id,
                to_do="send unix time in s, ms, us or ns, or ISO 8601 with date and time",
            )
