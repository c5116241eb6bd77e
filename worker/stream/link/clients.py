"""Clients of redis-py as the worker needs them, for as long as a place is not left."""

from functools import partial
from typing import Any

import redis
import structlog
from msgspec import Struct
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.credentials import CredentialProvider
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from worker.domain.credentials import Server
from worker.domain.endpoints import Endpoint
from worker.domain.errors import AccessDenied, ConfigurationError, Outage
from worker.stream.link.options import options_of
from worker.ways.pools import pool_of
from worker.ways.urls import Kind, Way, way_of

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S = 3.0


class Clients(Struct, frozen=True):
    """Connections made since the place was left last: for the blocking read alone, and for all else."""

    departures: int
    commands: Any
    reading: Any

    def let_go(self) -> None:
        """Close what is idle now, and what is at work once that is done."""
        for client in (self.commands, self.reading):
            client.connection_pool.update_active_connections_for_reconnect()
            client.connection_pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close every connection."""
        self.commands.close()
        self.reading.close()


class _AsTheyAreNow(CredentialProvider):
    """User and password for each connection anew, also where only an idle one was closed.

    Whoever is asked for them has the last word, else the URL has it.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def get_credentials(self) -> tuple[str, ...]:  # type: ignore[override]  # nothing, where the URL has none
        """Return what is sent to the server."""
        try:
            way = way_of(self._endpoint.url())
            options = parse_url(way.url)  # type: ignore[no-untyped-call]
        except ValueError:
            raise redis.ConnectionError("REDIS_URL: can't be used any more") from None
        user, password = options.get("username"), options.get("password")
        at = (options.get("host"), options.get("port")) if way.kind is Kind.SERVER else (None, None)
        user, password = self._asked(Server("redis", user, *at)) or (user, password)
        if user:
            return user, password or ""
        return (password,) if password else ()

    def _asked(self, server: Server) -> tuple[str, str] | None:
        try:
            return self._endpoint.login(server)
        except AccessDenied as outage:
            raise redis.AuthenticationError(outage.reason) from None
        except Outage as outage:
            # Only for an error of its own does the library close what it has opened.
            raise redis.ConnectionError(outage.reason) from None


def clients(
    endpoint: Endpoint, answer_timeout_s: float, reading_timeout_s: float, client_name: str, a_key: str
) -> Clients:
    """Return clients of the place that never retry and parse nothing. Raises ConfigurationError.

    `a_key`: in a cluster its node is the one that has all of our keys.
    """
    departures = endpoint.departures
    way = _way(endpoint.url())
    made = [
        _client(way, _options(endpoint, way, timeout_s, client_name), a_key)
        for timeout_s in (answer_timeout_s, reading_timeout_s)
    ]
    return Clients(departures, *made)


def _way(url: str) -> Way:
    try:
        return way_of(url)
    except ValueError as fault:
        raise ConfigurationError(f"REDIS_URL: {fault}") from None


def _options(endpoint: Endpoint, way: Way, answer_timeout_s: float, client_name: str) -> dict[str, Any]:
    """Return what each connection takes."""
    ours: dict[str, Any] = {
        "protocol": 3,
        # With them the library takes a connection again that has a reply left, and changes our time limits.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "decode_responses": False,
        "socket_timeout": answer_timeout_s,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "redis_connect_func": partial(_connect, client_name),
        "username": None,
        "password": None,
        "credential_provider": _AsTheyAreNow(endpoint),
    }
    options = options_of(way.url)
    if "path" not in options:
        ours["socket_keepalive"] = True
    return {**options, **ours}


def _client(way: Way, options: dict[str, Any], a_key: str) -> Any:  # noqa: ANN401  redis-py's
    pool = pool_of(way, options, a_key)
    try:
        # What is wrong with it shows when it is made, not only when it is used.
        pool.connection_class(**pool.connection_kwargs)
    except (redis.RedisError, ValueError, TypeError):
        raise ConfigurationError("REDIS_URL: can't be used: a part of it is not what it has to be") from None
    made = redis.Redis.from_pool(pool)
    made.response_callbacks.clear()
    return made


def _connect(client_name: str, connection: Any) -> None:  # noqa: ANN401  redis-py is half typed
    connection.on_connect()
    connection.send_command("CLIENT", "SETNAME", client_name)
    try:
        connection.read_response()
    except redis.ResponseError as refused:
        # The name is for people who look at the list of clients; the library's own way has no connection
        # without it.
        log.debug("connections to redis have no name", reason=str(refused))
