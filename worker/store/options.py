"""What the options of a connection to PostgreSQL say, judged before anything connects to it."""

import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo, ConnStatus, PGconn

from worker.domain.errors import ConfigurationError
from worker.ways.urls import named_option

# A word of `options`: a backslash takes what follows it as it is.
_WORD = re.compile(r"(?:\\.|[^\s\\])+", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_WITHOUT_WRITES = {"standby", "read-only", "prefer-standby"}


def require_known(names: Iterable[str], url: str) -> None:
    """Raise ConfigurationError where an option is none of libpq, or can be no good.

    The error names the option where that shows no secret.
    """
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    for name in names:
        if name in known and name != "replication":
            continue
        wrong = "is not known" if name not in known else "makes sessions that can not be used"
        raise ConfigurationError(f"DATABASE_URL: {named_option(name, url)} {wrong}")


def require_sense(options: Mapping[str, Any]) -> None:
    """Raise ConfigurationError where a server that can be used would never be found with these."""
    for name, value in options.items():
        if isinstance(value, tuple):
            raise ConfigurationError(f"DATABASE_URL: its option {name!r} is given more than once")
    if options.get("target_session_attrs") in _WITHOUT_WRITES:
        raise ConfigurationError(
            "DATABASE_URL: its target_session_attrs asks for a server that takes no writes; set read-write"
        )
    if "hostaddr" in options:
        _require_numeric(options["hostaddr"].split(","), options.get("host"))
    said = _refusal(options)
    if said is not None:
        raise ConfigurationError(f"DATABASE_URL: can't be used as it is: {said}")


def search_path(options: str) -> str | None:
    """Return the search path that `options` of a connection name, the last of several; None where none is.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-OPTIONS and the switches `-c` and
    `--NAME` of https://www.postgresql.org/docs/current/app-postgres.html say how they are read.
    """
    words = iter(_ESCAPED.sub(r"\1", word) for word in _WORD.findall(options))
    found = None
    for word in words:
        if not word.startswith(("-c", "--")):
            continue
        name, given, value = (next(words, "") if word == "-c" else word[2:]).partition("=")
        if given and name.replace("-", "_").lower() == "search_path":
            found = value
    return found


def _require_numeric(addresses: Sequence[str], hosts: str | None) -> None:
    if hosts and len(hosts.split(",")) != len(addresses):
        raise ConfigurationError("DATABASE_URL: its hosts and its hostaddr are not the same number")
    try:
        for address in filter(None, addresses):
            socket.getaddrinfo(address, 0, flags=socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        raise ConfigurationError("DATABASE_URL: its hostaddr is no numeric address") from None


def _refusal(options: Mapping[str, Any]) -> str | None:
    """Return what libpq says of options with which it won't even begin.

    It tells by no code whether that is why an attempt failed. Towards a listener of our own nothing else
    fails at once.
    """
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            # Whether this way is open at all.
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            nowhere = {"host": "localhost", "hostaddr": "127.0.0.1", "port": str(port)}
            attempt = PGconn.connect_start(make_conninfo(**{**options, **nowhere}).encode())
            said = attempt.get_error_message() if attempt.status == ConnStatus.BAD else None
            attempt.finish()
    except OSError:
        return None
    if said is None:
        return None
    said = said.partition("\n")[0].rpartition(" failed: ")[2]
    for value in options.values():
        said = said.replace(f'"{value}"', '"…"')
    return said
