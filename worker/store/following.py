"""Has a pool connect to where its server is now, as its URL reads now."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import URL, Engine, event
from sqlalchemy.exc import DisconnectionError

from worker.domain.credentials import Server
from worker.domain.endpoints import Endpoint
from worker.domain.errors import ConfigurationError, Outage

_SINCE = "departures"


def follow(engine: Engine, endpoint: Endpoint, parsed: Callable[[str], URL], ours: Mapping[str, Any]) -> None:
    """Read the URL of the place for each connection, and use none that was made before the place was left.

    `ours` are options that a URL does not replace.
    """

    def connect(dialect: Any, record: Any, _words: Any, _options: Any) -> Any:  # noqa: ANN401  SQLAlchemy's
        # Before it connects: where the place is left meanwhile, this connection may lead to where it was.
        record.info[_SINCE] = endpoint.departures
        try:
            url = parsed(endpoint.url())
            words, options = dialect.create_connect_args(url)
        except ConfigurationError as fault:
            # Whoever has changed it while we run may mend it while we run.
            raise Outage("postgresql", str(fault)) from None
        asked = endpoint.login(_server(options))
        login = {} if asked is None else dict(zip(("user", "password"), asked, strict=True))
        return dialect.connect(*words, **{**options, **login, **ours})

    def checkout(_connection: Any, record: Any, _proxy: Any) -> None:  # noqa: ANN401  SQLAlchemy's
        if record.info[_SINCE] != endpoint.departures:
            raise DisconnectionError("the place was left since this connection was made")

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "checkout", checkout)


def _server(options: Mapping[str, Any]) -> Server:
    host, port = (str(options.get(name) or "") for name in ("host", "port"))
    if "," in host:
        host = port = ""
    return Server("postgresql", options.get("user"), host or None, int(port) if port.isdecimal() else None)
