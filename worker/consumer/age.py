"""Whether an order comes in time to be executed."""

import re
from datetime import datetime

from worker.domain.deliveries import entry_milliseconds
from worker.domain.orders import Order

AHEAD_S = 60

# Eleven digits of seconds reach the year 5138; milliseconds have more and are no seconds.
_SECONDS = re.compile(r"[0-9]{1,11}(?:\.[0-9]*)?", re.ASCII)


def out_of_time(order: Order, now: datetime, max_age_s: float) -> str | None:
    """Return why an order may not be executed at this time, or None where it may.

    Its age is that of its timestamp or of its entry id, whichever is older: a producer that stamps an order and
    then hangs, and an entry that has waited in the stream, are both too late. A timestamp that is not
    unix seconds says nothing.
    """
    age_s = now.timestamp() - entry_milliseconds(order.entry_id) / 1000
    stamp = order.labels.timestamp
    if stamp is not None and _SECONDS.fullmatch(stamp):
        stamp_age_s = now.timestamp() - float(stamp)
        if stamp_age_s < -AHEAD_S:
            return f"timestamp is {-stamp_age_s:.0f} s ahead, at most {AHEAD_S} s are allowed"
        age_s = max(age_s, stamp_age_s)
    if age_s > max_age_s:
        return f"order is {age_s:.0f} s old, at most {max_age_s:g} s are allowed"
    return None
