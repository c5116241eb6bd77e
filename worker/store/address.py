"""What DATABASE_URL says, in the form of SQLAlchemy or of libpq: read by libpq, whichever it is."""

import re
from collections import Counter
from urllib.parse import quote, unquote, unquote_to_bytes

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PGconn
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from worker.domain.errors import ConfigurationError
from worker.store.options import require_known, require_sense

MOST_PORT = 65_535
DRIVER = "postgresql+psycopg"
_SCHEMES = {"postgres", "postgresql", DRIVER}
_SCHEME = re.compile(r"[\w+]+")
# As SQLAlchemy has it: libpq would end a password at a slash that is not percent-encoded.
_ACCOUNT = re.compile(r"([^:/@]*)(?::([^@]*))?@")
_HOST_WITH_PORT = re.compile(r"[A-Za-z0-9.-]*:[0-9]*")
# A word of JDBC that libpq takes in a URL, and only there.
_TLS_OF_JDBC = ("ssl", "true")

_Pairs = list[tuple[str, str]]


def address(url: str) -> URL:
    """Return the parts of a URL, for SQLAlchemy. Raises ConfigurationError where they can't be right.

    The libraries' own texts would show the URL, password and all.
    """
    scheme, given, rest = url.partition("://")
    if not given or not _SCHEME.fullmatch(scheme):
        raise ConfigurationError("DATABASE_URL: not a database URL")
    if scheme not in _SCHEMES:
        raise ConfigurationError(f"DATABASE_URL: scheme {scheme!r} is not PostgreSQL")
    read = _of_all_its_hosts(_read(rest, url))
    parsed = URL.create(
        DRIVER,
        username=read.pop("user", None),
        password=read.pop("password", None),
        database=read.pop("dbname", None),
        query=read,
    )
    try:
        _, options = PGDialect_psycopg().create_connect_args(parsed)  # type: ignore[no-untyped-call]
    except ArgumentError:
        raise ConfigurationError("DATABASE_URL: its hosts and its ports are not the same number") from None
    require_sense(options)
    return parsed


def _read(rest: str, url: str) -> dict[str, str]:
    """Read what follows the scheme of a URL as libpq does.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS says how it does.
    """
    account = _ACCOUNT.match(rest)
    place, _, query = rest[account.end() if account else 0 :].partition("?")
    if "@" in place.partition("/")[0]:
        # Its second half would be shown as the name of a host that does not resolve.
        raise ConfigurationError("DATABASE_URL: an @ in its user or password is not percent-encoded")
    pairs = _pairs(query, url)
    login = ":".join(_encoded(each) for each in account.groups() if each is not None) if account else ""
    options = "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in pairs)
    try:
        found = conninfo_to_dict(f"postgresql://{login}{'@' if account else ''}{place}?{options}")
    except ProgrammingError:
        raise ConfigurationError("DATABASE_URL: not a database URL") from None
    read = {name: str(value) for name, value in found.items()}
    _check_parts(read)
    return read


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text), safe="")


def _pairs(query: str, url: str) -> _Pairs:
    """Return the options of a URL, still encoded; several hosts as libpq has them, not one by one."""
    split = (each.partition("=") for each in query.split("&"))
    # One that is empty says nothing.
    pairs = [(unquote(name), value) for name, _, value in split if value]
    require_known((name for name, value in pairs if (name, value) != _TLS_OF_JDBC), url)
    counts = Counter(name for name, _ in pairs)
    hosts = [value for name, value in pairs if name == "host"]
    if len(hosts) > 1 or (hosts and "port" not in counts and _HOST_WITH_PORT.fullmatch(unquote(hosts[0]))):
        if "port" in counts:
            raise ConfigurationError("DATABASE_URL: its hosts and its ports are not the same number")
        each = [unquote(host).partition(":") for host in hosts]
        joined = [(name, ",".join(parts[at] for parts in each)) for name, at in (("host", 0), ("port", 2))]
        pairs = [pair for pair in pairs if pair[0] != "host"] + [
            (name, quote(value, safe="")) for name, value in joined
        ]
        counts = Counter(name for name, _ in pairs)
    for name, count in counts.items():
        if count > 1:
            raise ConfigurationError(f"DATABASE_URL: its option {name!r} is given more than once")
    return pairs


def _of_all_its_hosts(read: dict[str, str]) -> dict[str, str]:
    """Return options with what holds for all hosts where several are named: a port, as in libpq, and writes.

    After a failover the first of them may be a standby, which would be taken again and again. Wherever hosts
    are named, in the URL, in a file of services or in the environment: the driver gives each that it sees a
    time of its own to answer.
    """
    meant = _completed(read)
    named = {name: meant.get(name, "").split(",") for name in ("host", "hostaddr", "port")}
    if max(len(named["host"]), len(named["hostaddr"])) == 1:
        return read
    if len(named["port"]) == 1 and named["port"][0]:
        named["port"] *= len(named["host"])
    several = {name: ",".join(each) for name, each in named.items() if any(each) or len(each) > 1}
    asked = meant.get("target_session_attrs", "any")
    return {**read, **several, "target_session_attrs": "read-write" if asked == "any" else asked}


def _completed(read: dict[str, str]) -> dict[str, str]:
    """Return options with what libpq takes from elsewhere: files of services, the environment, defaults."""
    # It looks there as an attempt begins, and this one ends there: it has no such mode.
    attempt = PGconn.connect_start(make_conninfo(**{**read, "sslmode": "none"}).encode())
    try:
        return {each.keyword.decode(): each.val.decode() for each in attempt.info if each.val}
    finally:
        attempt.finish()


def _check_parts(read: dict[str, str]) -> None:
    # While connecting, each of these would look like a server that is away. A socket without a file has an @
    # before its name.
    if any("@" in host[1:] for host in read.get("host", "").split(",")):
        raise ConfigurationError("DATABASE_URL: an @ in its user or password is not percent-encoded")
    ports = filter(None, read.get("port", "").split(","))
    if not all(port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= MOST_PORT for port in ports):
        raise ConfigurationError("DATABASE_URL: its port is not between 1 and 65535")
