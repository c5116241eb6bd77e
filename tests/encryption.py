"""TLS before a server that speaks plainly, with certificates of the tests' own."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from select import select
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from typing import Any

import trustme

_CHUNK = 65_536
_POLL_S = 0.05
_PATIENCE_S = 10.0
_REQUEST_OF_POSTGRESQL = 8


@dataclass(frozen=True)
class Authority:
    """Whoever signs certificates, and the file that has their own."""

    made: trustme.CA
    file: Path

    @classmethod
    def new(cls, folder: Path, name: str) -> "Authority":
        made, file = trustme.CA(), folder / f"{name}.pem"
        made.cert_pem.write_to_path(str(file))
        return cls(made, file)

    def sign(self, *names: str, is_expired: bool = False) -> trustme.LeafCert:
        """Return a certificate for hosts of these names, which is over where that is asked for."""
        if not is_expired:
            return self.made.issue_cert(*names)
        first, last = (datetime(2000, 1, day, tzinfo=UTC) for day in (1, 2))
        return self.made.issue_cert(*names, not_before=first, not_after=last)

    def files(self, name: str, *, is_expired: bool = False) -> tuple[Path, Path]:
        """Return the files of a certificate and its key, for a host of this name."""
        signed = self.sign(name, is_expired=is_expired)
        certificate, key = (self.file.with_name(f"{self.file.stem}-{name}.{kind}") for kind in ("crt", "key"))
        signed.cert_chain_pems[0].write_to_path(str(certificate))
        key.touch(mode=0o600)
        signed.private_key_pem.write_to_path(str(key))
        return certificate, key


class _Front(ThreadingTCPServer):
    """Takes TLS from what clients say, and passes it on."""

    def __init__(self, port: int, context: ssl.SSLContext, *, asks_first: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Passage)
        self.behind = port
        self.context = context
        self.asks_first = asks_first
        self.ended = Event()

    def handle_error(self, *_: Any) -> None:
        """Say nothing: clients that go away, or are refused, are what is tested."""


class _Passage(BaseRequestHandler):
    server: _Front

    def handle(self) -> None:
        self.request.settimeout(_PATIENCE_S)
        if self.server.asks_first:
            self.request.recv(_REQUEST_OF_POSTGRESQL, socket.MSG_WAITALL)
            self.request.sendall(b"S")
        with (
            self.server.context.wrap_socket(self.request, server_side=True) as encrypted,
            socket.create_connection(("127.0.0.1", self.server.behind)) as plain,
        ):
            while not self.server.ended.is_set() and _passed_on(encrypted, plain):
                pass


def _passed_on(encrypted: ssl.SSLSocket, plain: socket.socket) -> bool:
    # One thread for both directions: a connection of OpenSSL is not for two at once.
    ready = [encrypted] if encrypted.pending() else select([encrypted, plain], [], [], _POLL_S)[0]
    for source in ready:
        received = source.recv(_CHUNK)
        (plain if source is encrypted else encrypted).sendall(received)
        if not received:
            return False
    return True


@contextmanager
def encrypted(
    port: int,
    certificate: trustme.LeafCert,
    *,
    clients: Authority | None = None,
    asks_first: bool = False,
    context: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """Yield the port where a server of this machine speaks TLS. `clients`: who has to have signed theirs.

    `asks_first`: clients ask for TLS in the words of PostgreSQL. Whoever gives the context may give it
    another certificate later, which counts for the connections from then on.
    """
    context = context or ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        clients.made.configure_trust(context)
    with _Front(port, context, asks_first=asks_first) as front:
        thread = Thread(target=front.serve_forever, kwargs={"poll_interval": _POLL_S})
        thread.start()
        try:
            yield front.server_address[1]
        finally:
            front.ended.set()
            front.shutdown()
            thread.join()
