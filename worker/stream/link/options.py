"""What REDIS_URL says, judged before anything connects."""

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import redis
from redis.connection import SSLConnection, parse_url

from worker.domain.errors import ConfigurationError
from worker.ways.urls import named_option

# The library takes whatever its connections do, and most of that is no text, or would change what the worker
# relies on.
_PLAIN = {"db", "username", "password"}
_TLS = {
    "ssl_ca_certs",
    "ssl_ca_data",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_ciphers",
    "ssl_exclude_verify_flags",
    "ssl_include_verify_flags",
    "ssl_keyfile",
    "ssl_min_version",
    "ssl_password",
}
# What the worker decides by itself. A URL that others use, too, may say it, and is not heard.
_OURS = {
    "client_name",
    "decode_responses",
    "encoding",
    "encoding_errors",
    "health_check_interval",
    "max_connections",
    "protocol",
    "retry_on_timeout",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_timeout",
    "timeout",
}


def options_of(url: str) -> dict[str, Any]:
    """Return what a connection to a URL takes.

    Raises ConfigurationError where that can't be right, and shows no value.
    """
    try:
        given: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        # The library's own text may show a piece of the URL.
        raise ConfigurationError("REDIS_URL: can't be used: a part of it is not what it has to be") from None
    is_tls = given.get("connection_class") is SSLConnection
    known = _PLAIN | _OURS | (_TLS if is_tls else set())
    query = url.partition("?")[2]
    for name in {name for name, _ in parse_qsl(query, keep_blank_values=True)} - known:
        raise ConfigurationError(
            f"REDIS_URL: {named_option(name, url)} {'is for rediss://' if name in _TLS else 'is not known'}"
        )
    if is_tls:
        tls_of(given)
    return {name: value for name, value in given.items() if name not in _OURS}


def tls_of(options: Mapping[str, Any]) -> ssl.SSLContext:
    """Return a TLS context as the library makes one for each connection; it trusts anybody.

    With the library, what is wrong with it would look like a server that is away.
    """
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        _require_readable(name, options.get(name))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    authorities = [options.get(name) for name in ("ssl_ca_certs", "ssl_ca_path", "ssl_ca_data")]
    if any(authority is not None for authority in authorities):
        _require(
            "ssl_ca_certs, ssl_ca_path or ssl_ca_data", lambda: context.load_verify_locations(*authorities)
        )
    certificate: Any = options.get("ssl_certfile")
    key: Any = options.get("ssl_keyfile")
    if certificate or key:
        # Without a password the library would ask for one on the terminal.
        password = options.get("ssl_password") or ""
        _require(
            "ssl_certfile, ssl_keyfile or ssl_password",
            lambda: context.load_cert_chain(certificate, key, password),
        )
    if "ssl_min_version" in options:
        _require("ssl_min_version", lambda: setattr(context, "minimum_version", options["ssl_min_version"]))
    if options.get("ssl_ciphers"):
        _require("ssl_ciphers", lambda: context.set_ciphers(options["ssl_ciphers"]))
    _require("ssl_cert_reqs", lambda: SSLConnection(ssl_cert_reqs=options.get("ssl_cert_reqs")))
    return context


def _require(names: str, made: Callable[[], object]) -> None:
    try:
        made()
    except (OSError, ValueError, TypeError, redis.RedisError) as error:
        why = getattr(error, "reason", None) or "it is not what it has to be"
        raise ConfigurationError(f"REDIS_URL: its {names} can't be used: {why}") from None


def _require_readable(name: str, file: str | None) -> None:
    try:
        if file is not None:
            Path(file).open("rb").close()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no path"
        raise ConfigurationError(f"REDIS_URL: its {name} can't be read: {why}") from None
