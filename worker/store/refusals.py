"""The code of a refusal to connect. libpq keeps it to itself: it stands in a trace of one more attempt, in every language."""

import os
import re
import time
from functools import lru_cache
from select import POLLIN, POLLOUT, poll

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.errors import ConnectionTimeout
from psycopg.pq import PGconn, PollingStatus

# One of these words, or one of these codes: whoever asks for a connection, or a statement, may not have it.
_CODES = ("28", "42501")
_WORDS = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "permission denied",
)

# Whoever refuses does so at once; for anybody else a whole connect timeout has been waited already.
_PATIENCE_S = 1.0
_MOST_TRACED = 65_536
# Severity in the server's language, severity, code.
_REFUSED = re.compile(rb'\tErrorResponse\t S "[^"]*" V "[^"]*" C "([0-9A-Z]{5})"')


def is_refusal(error: BaseException | None) -> bool:
    """Whether an error of the driver says that the server is there and will not have us."""
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is not None:
        return error.sqlstate.startswith(_CODES)
    said = str(error)
    if any(words in said for words in _WORDS):
        return True
    if error.pgconn is None or isinstance(error, ConnectionTimeout):
        return False
    if error.pgconn.needs_password:
        return True
    options = {each.keyword.decode(): each.val.decode() for each in error.pgconn.info if each.val is not None}
    return (_code(said, make_conninfo(**options)) or "").startswith(_CODES)


@lru_cache(maxsize=32)
def _code(_said: str, conninfo: str) -> str | None:
    """Return the code with which a connection is refused. Once for the same words: replicas try again and again."""
    if not hasattr(os, "memfd_create"):
        return None
    # In memory, since it quotes what was sent.
    trace = os.memfd_create("trace")
    try:
        _connect(conninfo, trace)
        found = _REFUSED.search(os.pread(trace, _MOST_TRACED, 0))
    except psycopg.Error:
        return None
    finally:
        os.close(trace)
    return found[1].decode() if found else None


def _connect(conninfo: str, trace: int) -> None:
    """Try to connect, and write into `trace` what is said meanwhile."""
    deadline = time.monotonic() + _PATIENCE_S
    attempt = PGconn.connect_start(conninfo.encode())
    try:
        attempt.trace(trace)
        state = attempt.connect_poll()
        while state in {PollingStatus.READING, PollingStatus.WRITING}:
            ready = poll()
            ready.register(attempt.socket, POLLIN if state is PollingStatus.READING else POLLOUT)
            if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return
            state = attempt.connect_poll()
    finally:
        # Else its last line may stay in a buffer.
        attempt.untrace()
        attempt.finish()
