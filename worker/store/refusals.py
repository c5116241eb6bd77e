"""Why a connection was not made.

libpq keeps the code to itself: it stands in a trace of one more attempt, in every language.
"""

import os
import re
import socket
import time
from functools import lru_cache
from select import POLLIN, POLLOUT, poll

import psycopg
from msgspec import Struct
from psycopg.conninfo import make_conninfo
from psycopg.errors import ConnectionTimeout
from psycopg.pq import PGconn, PollingStatus

# One of these codes: whoever asks for a connection, or a statement, may not have it.
_CODES = ("28", "42501")
# While connecting no code is handed on. PgBouncer has one for everything, besides; of the others these words
# save one more attempt where the server speaks English, and tell where there is no trace to look into.
_WORDS = (
    "password authentication failed",
    "SASL authentication failed",
    "no pg_hba.conf entry",
    "permission denied",
)
# What was asked for is not known, or no value of what it is for.
_CODES_OF_OPTIONS = ("22", "42", "0A")
# Where there is no code at all: TLS, in the words of OpenSSL and libpq, since who has closed the connection
# can't be told there; and PgBouncer, of which it says nothing.
_WORDS_OF_OPTIONS = (
    "certificate verify failed",
    " alert ",
    "does not match host name",
    "unsupported startup parameter",
)
# The database that was asked for is not there. PgBouncer says so in words of its own, and hands on those of
# the server, both under its one code.
_CODE_OF_NO_DATABASE = "3D000"
_WORDS_OF_NO_DATABASE = re.compile(r'no such database|database ".*" does not exist')

# Whoever refuses does so at once; for anybody else a whole connect timeout has been waited already.
_PATIENCE_S = 1.0
_MOST_TRACED = 65_536
# Severity in the server's language, severity (a pooler may leave it out), code.
_REFUSED = re.compile(rb'\tErrorResponse\t S "[^"]*"(?: V "[^"]*")? C "([0-9A-Z]{5})"')
# From there on the session is there, and only libpq's search for a primary gives it up.
_READY = b"\tReadyForQuery\t"


class _Ending(Struct, frozen=True):
    """How one more attempt ended."""

    code: str | None
    by_us: bool


_UNKNOWN = _Ending(None, False)


def is_refusal(error: BaseException | None) -> bool:
    """Whether an error of the driver says that the server is there and will not have us."""
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is not None:
        return error.sqlstate.startswith(_CODES)
    if error.pgconn is not None and error.pgconn.needs_password:
        return True
    if any(words in str(error) for words in _WORDS):
        return True
    return (_ending(error).code or "").startswith(_CODES)


def is_of_options(error: BaseException | None) -> bool:
    """Whether the server is there, and a session fails for what the URL asks for, or does not say."""
    # With a code of its own it comes of a statement.
    if not isinstance(error, psycopg.Error) or error.sqlstate is not None or is_refusal(error):
        return False
    said = str(error)
    if any(words in said for words in _WORDS_OF_OPTIONS):
        return True
    ending = _ending(error)
    return ending.by_us or (ending.code or "").startswith(_CODES_OF_OPTIONS)


def is_of_the_database(error: BaseException | None) -> bool:
    """Whether the server, or a pooler before it, answers and has no database of the name that was asked for.

    A pooler may have taken the connection, and say so of the first statement.
    """
    if not isinstance(error, psycopg.Error):
        return False
    if _WORDS_OF_NO_DATABASE.search(str(error)):
        return True
    return (error.sqlstate or _ending(error).code) == _CODE_OF_NO_DATABASE


def _ending(error: psycopg.Error) -> _Ending:
    if error.pgconn is None or isinstance(error, ConnectionTimeout):
        return _UNKNOWN
    options = {each.keyword.decode(): each.val.decode() for each in error.pgconn.info if each.val is not None}
    return _tried(str(error), make_conninfo(**options))


@lru_cache(maxsize=32)
def _tried(_said: str, conninfo: str) -> _Ending:
    """Try to connect once more. Once for the same words: replicas try again and again."""
    if not hasattr(os, "memfd_create"):
        return _UNKNOWN
    # In memory, since it quotes what was sent.
    trace = os.memfd_create("trace")
    try:
        is_given_up = _connect(conninfo, trace)
        written = os.pread(trace, _MOST_TRACED, 0)
    except (psycopg.Error, OSError):
        return _UNKNOWN
    finally:
        os.close(trace)
    found = _REFUSED.search(written)
    if found:
        return _Ending(found[1].decode(), False)
    return _Ending(None, is_given_up and _READY not in written)


def _connect(conninfo: str, trace: int) -> bool:
    """Try to connect, and write into `trace` what is said meanwhile.

    Returns whether it failed while the server was listening.
    """
    deadline = time.monotonic() + _PATIENCE_S
    attempt = PGconn.connect_start(conninfo.encode())
    try:
        attempt.trace(trace)
        state = attempt.connect_poll()
        while state in {PollingStatus.READING, PollingStatus.WRITING}:
            ready = poll()
            ready.register(attempt.socket, POLLIN if state is PollingStatus.READING else POLLOUT)
            if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return False
            state = attempt.connect_poll()
        return state == PollingStatus.FAILED and _is_open(attempt.socket)
    finally:
        # Else its last line may stay in a buffer.
        attempt.untrace()
        attempt.finish()


def _is_open(number: int) -> bool:
    with socket.socket(fileno=os.dup(number)) as connection:
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False
