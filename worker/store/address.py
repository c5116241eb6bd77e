"""What DATABASE_URL says, in the form of SQLAlchemy or of libpq."""

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from worker.domain.errors import ConfigurationError

MOST_PORT = 65_535
DRIVER = "postgresql+psycopg"


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
    return parsed


def _is_of_libpq(url: str) -> bool:
    # Several hosts with commas between, or a folder for a host: SQLAlchemy takes either for one name.
    hosts = url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]
    return "," in hosts or "%" in hosts


def _of_libpq(url: str) -> URL:
    """Read a URL as https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS has it."""
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


def _check_parts(url: URL) -> None:
    # While connecting, each of these would look like a server that is away.
    hosts = [url.host or "", *_texts(url.query.get("host", ""))]
    if any("@" in host for host in hosts):
        # Its second half would be shown as the name of a host that does not resolve.
        raise ConfigurationError("DATABASE_URL: an @ in its user or password is not percent-encoded")
    try:
        make_conninfo("", **dict.fromkeys(url.query, ""))
    except ProgrammingError:
        raise ConfigurationError("DATABASE_URL: has an option that is not known") from None
    ports = [str(url.port)] if url.port is not None else []
    ports += [port for given in _texts(url.query.get("port", "")) for port in given.split(",") if port]
    if not all(port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= MOST_PORT for port in ports):
        raise ConfigurationError("DATABASE_URL: its port is not between 1 and 65535")


def _texts(given: str | tuple[str, ...]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else given
