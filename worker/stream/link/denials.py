"""What a server does not say when it denies something: which command of a script, which key or channel."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import redis

# Of a command that a script may not run: before 7.0, and from then on. The code is ERR, as that of any error.
DENIED_IN_SCRIPTS = ("executing the script can't run this command", "ACL failure in script")

# Where in a script its server met an error, and what stands there. 7.0 does not say it of what was caught and
# handed on.
_AT_LINE = re.compile(r"user_script: ?(\d+)")
_CALLED = re.compile(r"call\('([A-Z]+)'")
_CAUGHT = re.compile(r"pcall\('([A-Z]+)'")


@contextmanager
def naming_commands(source: str) -> Iterator[None]:
    """Name the denied command of this script, or those it may have been, where the server does not."""
    try:
        yield
    except redis.ResponseError as error:
        if DENIED_IN_SCRIPTS[0] not in str(error):
            raise
        place = _AT_LINE.search(str(error))
        may_be = _CALLED.findall(source.splitlines()[int(place[1]) - 1]) if place else _CAUGHT.findall(source)
        named = " or ".join(dict.fromkeys(may_be)) or "a command"
        raise redis.exceptions.NoPermissionError(f"a script may not run {named}") from error


@contextmanager
def naming_keys(names: Iterable[str | int | bytes]) -> Iterator[None]:
    """Name the keys or channels one of which was denied."""
    try:
        yield
    except redis.exceptions.NoPermissionError as denied:
        # One code, NOPERM, for commands, which are named, and for keys and channels, which may not be
        # accessed.
        if "access" not in str(denied):
            raise
        raise redis.exceptions.NoPermissionError(f"{denied}: {', '.join(map(str, names))}") from denied
