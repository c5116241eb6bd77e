"""What DATABASE_URL says, in the form of SQLAlchemy or of libpq."""

from urllib.parse import parse_qsl

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from worker.domain.errors import ConfigurationError
from worker.store.options import require_known, require_sense

MOST_PORT = 65_535
DRIVER = "postgresql+psycopg"
_TLS_OF_JDBC = ("ssl", "true")


def address(url: str) -> URL:
    """Return the parts of a URL, for SQLAlchemy. Raises ConfigurationError where they can't be right.

    The library's own text would show the URL, password and all.
    """
    try:
        parsed = _of_libpq(url) if _is_of_libpq(url) else make_url(url)
    except (ArgumentError, ProgrammingError, ValueError):
        raise ConfigurationError("DATABASE_URL: not a database URL") from None
    if parsed.drivername in {"postgres", "postgresql"}:
        parsed = parsed.set(drivername=DRIVER)
    if parsed.drivername != DRIVER:
        raise ConfigurationError(f"DATABASE_URL: scheme {parsed.drivername!r} is not PostgreSQL")
    _check_parts(parsed)
    require_known(parsed.query, url)
    parsed = _of_all_its_hosts(parsed)
    try:
        _, options = PGDialect_psycopg().create_connect_args(parsed)  # type: ignore[no-untyped-call]
    except ArgumentError:
        raise ConfigurationError("DATABASE_URL: its hosts and its ports are not the same number") from None
    require_sense(options)
    return parsed


def _is_of_libpq(url: str) -> bool:
    # Several hosts with commas between, or a folder for a host: SQLAlchemy takes either for one name. And a
    # word of JDBC that libpq takes in a URL; SQLAlchemy hands it on as an option of libpq, which it is not.
    hosts = url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]
    return "," in hosts or "%" in hosts or _TLS_OF_JDBC in parse_qsl(url.partition("?")[2])


def _of_libpq(url: str) -> URL:
    """Read a URL as libpq does.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS says how it does.
    """
    given = set(parse_qsl(url.partition("?")[2], keep_blank_values=True)) - {_TLS_OF_JDBC}
    require_known((name for name, _ in given), url)
    read = {
        name: str(value)
        for name, value in conninfo_to_dict(f"postgresql://{url.partition('://')[2]}").items()
    }
    return URL.create(
        DRIVER,
        username=read.pop("user", None),
        password=read.pop("password", None),
        database=read.pop("dbname", None),
        query=read,
    )


def _of_all_its_hosts(url: URL) -> URL:
    """Return a URL with what holds for all its hosts where it names several: a port, as in libpq, and writes.

    After a failover the first of them may be a standby, which would be taken again and again.
    """
    named = {name: _split(url.query.get(name, "")) for name in ("host", "hostaddr", "port")}
    if max(len(named["host"]), len(named["hostaddr"])) == 1:
        return url
    is_one = len(named["port"]) == 1 and named["port"][0]
    more = {"port": ",".join(named["port"] * len(named["host"]))} if is_one else {}
    if url.query.get("target_session_attrs", "any") == "any":
        more["target_session_attrs"] = "read-write"
    return url.update_query_dict(more)


def _check_parts(url: URL) -> None:
    # While connecting, each of these would look like a server that is away.
    hosts = [url.host or "", *_texts(url.query.get("host", ""))]
    if any("@" in host for host in hosts):
        # Its second half would be shown as the name of a host that does not resolve.
        raise ConfigurationError("DATABASE_URL: an @ in its user or password is not percent-encoded")
    ports = [str(url.port)] if url.port is not None else []
    ports += filter(None, _split(url.query.get("port", "")))
    if not all(port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= MOST_PORT for port in ports):
        raise ConfigurationError("DATABASE_URL: its port is not between 1 and 65535")


def _split(given: str | tuple[str, ...]) -> list[str]:
    return [each for text in _texts(given) for each in text.split(",")]


def _texts(given: str | tuple[str, ...]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else given
