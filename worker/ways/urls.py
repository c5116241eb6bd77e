"""The ways to Redis that a URL names: to one server, to the primary that Sentinel knows, into a cluster."""

import re
from collections import Counter
from enum import Enum
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_MOST_PORT = 65_535
# A piece of a password that is not percent-encoded may stand where a name does.
_OPTION = re.compile(r"[a-z_]{1,40}", re.IGNORECASE)
# What Sentinel itself asks for, and its servers do not.
_OF_SENTINEL = {"sentinel_username": "username", "sentinel_password": "password"}


class Kind(Enum):
    """Whom the hosts of a URL name."""

    SERVER = ""
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


_PORTS = {Kind.SENTINEL: 26_379, Kind.CLUSTER: 6_379}
SCHEMES = (
    "redis://", "rediss://", "unix://", "redis+sentinel://", "rediss+sentinel://", "redis+cluster://",
    "rediss+cluster://",
)  # fmt: skip


class Way(NamedTuple):
    """One way. `url` is what a connection takes: that of one server, by the first host.

    `hosts` are whom to ask where the server is, `service` is what Sentinel calls it, and `account` with what
    Sentinel wants to be asked. Both URL and account hold secrets.
    """

    kind: Kind
    url: str
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    account: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        """Return no secret."""
        return f"Way({self.kind.name}, {self.hosts})"


def way_of(url: str) -> Way:
    """Return the way that a URL of Redis names. Raises ValueError, which shows nothing of it."""
    scheme, _, rest = url.partition("://")
    base, _, name = scheme.partition("+")
    if f"{scheme}://" not in SCHEMES:
        raise ValueError(f"must begin with one of {', '.join(SCHEMES)}")
    if "#" in url:
        # Libraries drop what is behind it without a word, be it the host.
        raise ValueError("has a # that is not percent-encoded: %23")
    kind = Kind(name)
    place, query = _split(rest, "?")
    # The library reads options as a form, where a + is a space; in user and password it is a plus.
    query = query.replace("+", "%2B")
    if kind is Kind.SERVER:
        _require_server(url)
        _options(kind, query, url)
        return Way(kind, f"{base}://{place}{'?' if query else ''}{query}")
    authority, path = _split(place, "/")
    user, at, names = authority.rpartition("@")
    hosts = tuple(_host(each, _PORTS[kind]) for each in names.split(","))
    service, database = _path(kind, path)
    ours, others = _options(kind, query, url)
    (host, port), *_ = hosts
    plain = f"{base}://{user}{at}{f'[{host}]' if ':' in host else host}:{port}/{database}{others}"
    return Way(kind, plain, hosts, service, ours)


def parts_of(url: str) -> SplitResult:
    """Return the parts of a URL. Raises ValueError, which shows nothing of it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        # The library's own text would show what it takes for the port: a piece of the password.
        raise ValueError(
            "can't be read: its port is no port, or its password is not percent-encoded"
        ) from None
    return parts


def _require_server(url: str) -> None:
    """Refuse what the library would understand as another server, or as another database, than it names."""
    parts = parts_of(url)
    if parts.scheme == "unix":
        if parts.hostname or not parts.path.strip("/"):
            raise ValueError("must name the path of a socket behind three slashes: unix:///PATH")
        return
    if not parts.hostname or "," in parts.hostname:
        raise ValueError("must name one host; several are for redis+sentinel:// and redis+cluster://")
    _require_number(parts.path.strip("/"), "its path must be the number of a database")


def _require_number(database: str, otherwise: str) -> None:
    if database and not (database.isascii() and database.isdecimal()):
        raise ValueError(otherwise)


def _split(text: str, by: str) -> tuple[str, str]:
    before, _, after = text.partition(by)
    return before, after


def _host(text: str, port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    given = int(found[2] or port) if found else 0
    if found is None or not 0 < given <= _MOST_PORT:
        raise ValueError(
            "its hosts must be HOST or HOST:PORT with commas between them, and its password percent-encoded"
        )
    return found[1].strip("[]"), given


def _path(kind: Kind, path: str) -> tuple[str, str]:
    """Return the service and the number of the database."""
    if kind is Kind.CLUSTER:
        if path.strip("/") not in {"", "0"}:
            raise ValueError("its path must be empty: a cluster has no database but 0")
        return "", "0"
    service, database = _split(path, "/")
    if not service:
        raise ValueError("must name the service that Sentinel watches: redis+sentinel://HOST:26379/SERVICE")
    _require_number(database, "its path must be the service and, behind it, the number of a database")
    return unquote(service), database or "0"


def _options(kind: Kind, query: str, url: str) -> tuple[tuple[tuple[str, str], ...], str]:
    """Return what is for Sentinel, and a query of all else."""
    given = parse_qsl(query, keep_blank_values=True)
    (name, times), *_ = Counter(name for name, _ in given).most_common(1) or [("", 0)]
    if times > 1:
        raise ValueError(f"{named_option(name, url)} stands there twice")
    if kind is Kind.CLUSTER and dict(given).get("db", "0") != "0":
        raise ValueError("option 'db' must be 0: a cluster has no other database")
    ours = tuple((_OF_SENTINEL[name], value) for name, value in given if name in _OF_SENTINEL)
    if ours and kind is not Kind.SENTINEL:
        (name, *_) = (name for name, _ in given if name in _OF_SENTINEL)
        raise ValueError(f"{named_option(name, url)} is for redis+sentinel://")
    others = [(name, value) for name, value in given if name not in _OF_SENTINEL]
    return ours, f"?{urlencode(others)}" if others else ""


def named_option(name: str, url: str) -> str:
    """Return what a message calls an option of a URL: its name, where that shows no secret."""
    is_safe = _OPTION.fullmatch(name) and "@" not in url.partition("?")[2]
    return f"option {name!r}" if is_safe else "an option"


def hash_tag(key: str) -> str | None:
    """Return the part of a key that alone says where in a cluster it is, None where that is the whole key."""
    found = re.search(r"\{(.*?)\}", key, re.DOTALL)
    return found[1] if found and found[1] else None
