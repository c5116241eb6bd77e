"""One more look at a Redis that ends connections or lets them wait.

It tells whether the server is there, and spoken to in the wrong way.
"""

import socket
import ssl
from collections.abc import Mapping
from typing import Any

from worker.stream.link.options import tls_of

_PATIENCE_S = 1.0
_TLS_THERE = "REDIS_URL: the port answers with TLS alone; write rediss://"
_PLAIN_THERE = "REDIS_URL: the port answers without TLS; write redis://, or name its port for TLS"
# Whether it asks for a password or not, these are its beginnings.
_REDIS = (b"+PONG", b"-NOAUTH", b"-DENIED", b"-NOPERM", b"-LOADING")


def look_closer(options: Mapping[str, Any], *, is_tls: bool) -> str | None:
    """Return what is wrong with the URL of a connection that failed."""
    if "host" not in options:
        return None
    place = options["host"], options.get("port", 6379)
    try:
        if not is_tls:
            return _TLS_THERE if _speaks_tls(place) else None
        return _PLAIN_THERE if _speaks_plain(place) else _objection(place, tls_of(options))
    except OSError:
        return None


def _speaks_tls(place: tuple[str, int]) -> bool:
    with socket.create_connection(place, _PATIENCE_S) as plain, tls_of({}).wrap_socket(plain):
        return True


def _speaks_plain(place: tuple[str, int]) -> bool:
    with socket.create_connection(place, _PATIENCE_S) as plain:
        plain.sendall(b"PING\r\n")
        try:
            return plain.recv(64).startswith(_REDIS)
        except OSError:
            return False


def _objection(place: tuple[str, int], context: ssl.SSLContext) -> str | None:
    """Return what the server has against us.

    It says so once the handshake is over for us, and whoever writes then misses it.
    """
    with socket.create_connection(place, _PATIENCE_S) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=place[0]) as encrypted:
                encrypted.recv(1)
        except ssl.SSLError as error:
            # Its name in OpenSSL, which is a code in words.
            if "ALERT" in (error.reason or ""):
                return (
                    f"REDIS_URL: the server refuses TLS with us, {error.reason};"
                    " it may want a certificate (ssl_certfile, ssl_keyfile)"
                )
    return None
