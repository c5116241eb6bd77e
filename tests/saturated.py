"""A pooler that lets everybody in by itself, and has no session of the server to lend while it is full."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from urllib.parse import urlsplit

_CHUNK = 65_536
_STATEMENTS = (b"Q", b"P")
_READY = b"Z" + struct.pack("!i", 5) + b"I"
# In the words of Supavisor.
_FULL = "(ECHECKOUTTIMEOUT) unable to check out connection from the pool after 15000ms in Transaction mode"


def error(code: str, words: str, severity: str, *, untranslated: bool) -> bytes:
    """Return what a server says of an error; a pooler may leave out the severity that is in no language."""
    parts = {"S": severity, "V": severity, "C": code, "M": words}
    if not untranslated:
        del parts["V"]
    body = b"".join(name.encode() + value.encode() + b"\0" for name, value in parts.items()) + b"\0"
    return b"E" + struct.pack("!i", len(body) + 4) + body


class Saturable:
    """It stands before one server. While `full` is set it refuses each statement, and ends the session.

    One that refuses with an ERROR leaves the session as it is. While `paused` is set it keeps to itself what
    it is told, and says nothing.
    """

    def __init__(self, server_url: str, severity: str, *, untranslated: bool) -> None:
        parts = urlsplit(server_url)
        self._server = (parts.hostname or "", parts.port or 0)
        self._ends = severity != "ERROR"
        self._refusal = error("XX000", _FULL, severity, untranslated=untranslated)
        if not self._ends:
            self._refusal += _READY
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.port: int = self._listener.getsockname()[1]
        self.full, self.paused = Event(), Event()
        self.refused = 0

    def serve(self) -> None:
        """Let in whoever comes, until it is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            pair = (client, socket.create_connection(self._server))
            self._pairs.append(pair)
            Thread(target=self._pass_on, args=pair, daemon=True).start()
            Thread(target=self._pass_on, args=pair[::-1], daemon=True).start()

    def close(self) -> None:
        """End every session."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in (side for pair in self._pairs for side in pair):
            _end(each)
            each.close()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while said := source.recv(_CHUNK):
                if self.paused.is_set() and said.startswith(_STATEMENTS):
                    continue
                if self.full.is_set() and said.startswith(_STATEMENTS):
                    source.sendall(self._refusal)
                    self.refused += 1
                    if self._ends:
                        break
                    continue
                target.sendall(said)
        _end(source)
        _end(target)


def _end(side: socket.socket) -> None:
    with suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)


@contextmanager
def saturable(server_url: str, severity: str = "FATAL", *, untranslated: bool = True) -> Iterator[Saturable]:
    """Start such a pooler before a server, and end it."""
    pooler = Saturable(server_url, severity, untranslated=untranslated)
    Thread(target=pooler.serve, daemon=True).start()
    try:
        yield pooler
    finally:
        pooler.close()
