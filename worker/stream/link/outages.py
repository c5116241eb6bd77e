"""What Redis or the way to it does wrong, told apart by what the worker does about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from worker.domain.errors import AccessDenied, Outage, OutOfMemory
from worker.stream.link.codes import code_of
from worker.stream.link.denials import DENIED_IN_SCRIPTS

# The codes of a server that is no primary, not one any more, or not one yet; of a node without our keys.
_NO_PRIMARY = {"READONLY", "MASTERDOWN", "LOADING", "NOREPLICAS", "MOVED"}
# Why a read was unblocked has one code: its server was demoted, the stream is gone, or somebody asked for it.
_UNBLOCKED_BY_A_DEMOTION = "UNBLOCKED force unblock"
_UNBLOCKED_WITHOUT_A_STREAM = "UNBLOCKED the stream key no longer exists"


class GroupLost(Exception):
    """The stream or its group is gone: make it anew at 0, the inbox absorbs what comes again."""


def is_no_primary(error: redis.RedisError) -> bool:
    """Whether the server says that it is not what we need, or that it does not know us."""
    return (
        isinstance(error, redis.AuthenticationError)
        or code_of(error) in _NO_PRIMARY
        # In place of what a server has said that Sentinel had named the primary, the library says that.
        or isinstance(error.__context__, redis.ReadOnlyError)
        or _UNBLOCKED_BY_A_DEMOTION in str(error)
    )


@contextmanager
def outages() -> Iterator[None]:
    """Translate what Redis or the way to it does wrong: GroupLost where the group is gone, else Outage."""
    try:
        yield
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise AccessDenied("redis", _reason(error)) from error
    except redis.ResponseError as error:
        if code_of(error) == "NOGROUP" or _UNBLOCKED_WITHOUT_A_STREAM in str(error):
            raise GroupLost(str(error)) from error
        if any(sign in str(error) for sign in DENIED_IN_SCRIPTS):
            raise AccessDenied("redis", _reason(error)) from error
        if code_of(error) == "OOM":
            raise OutOfMemory("redis", _reason(error)) from error
        raise Outage("redis", _reason(error)) from error
    except (redis.RedisError, OSError) as error:
        raise Outage("redis", _reason(error)) from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]


def text(value: Any) -> str:  # noqa: ANN401  replies are untyped
    """Return a reply's bytes as text; ids and names are ASCII or come from our own settings."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
