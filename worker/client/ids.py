"""Order ids: UUIDs of version 7, which sort by the time they were minted."""

import os
import threading
import time
import uuid

_COUNTER_BITS = 42
_lock = threading.Lock()
_last_ms = 0
_counter = 0


def new_order_id() -> str:
    """Return an id that nobody else mints, greater than those that this process minted before.

    Mint it once for an order, before the first attempt to add it, and keep it with the order: one that is
    minted for another attempt is another order, and is executed as well.
    """
    return str(uuid7())


def own_uuid7() -> uuid.UUID:
    """Return a UUIDv7 as Python 3.14 mints it: RFC 9562, section 6.2, method 1, with a counter of 42 bits.

    Within a millisecond the counter goes up by one; each new millisecond begins at a random count whose
    highest bit is unset. Where the clock stands or goes back, the last time is kept.
    """
    global _last_ms, _counter  # noqa: PLW0603  the ids of one process share one counter
    with _lock:
        now_ms = time.time_ns() // 1_000_000
        if now_ms > _last_ms:
            _last_ms, _counter = now_ms, _random(_COUNTER_BITS - 1)
        else:
            _counter += 1
            if _counter >> _COUNTER_BITS:
                _last_ms, _counter = _last_ms + 1, _random(_COUNTER_BITS - 1)
        at_ms, count = _last_ms, _counter
    value = (at_ms & 0xFFFF_FFFF_FFFF) << 80
    value |= 7 << 76 | (count >> 30) << 64
    value |= 0b10 << 62 | (count & 0x3FFF_FFFF) << 32 | _random(32)
    return uuid.UUID(int=value)


def _begin_anew() -> None:
    # In a child: the lock may be held by a thread that is not there, and the parent goes on from the same
    # count.
    global _lock, _last_ms, _counter  # noqa: PLW0603
    _lock = threading.Lock()
    _last_ms, _counter = _last_ms + 1, _random(_COUNTER_BITS - 1)


os.register_at_fork(after_in_child=_begin_anew)


def _random(bits: int) -> int:
    return int.from_bytes(os.urandom(8)) >> (64 - bits)


uuid7 = getattr(uuid, "uuid7", own_uuid7)
