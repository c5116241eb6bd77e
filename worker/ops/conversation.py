"""What one client and the server say to each other: h11 knows HTTP/1.1, applications know WSGI."""

import re
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from io import BytesIO
from typing import TypeAlias
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication, WSGIEnvironment

import h11
from msgspec import Struct

from worker.ops.views import fault

Headers: TypeAlias = list[tuple[str, str]]

MOST_HEADER_BYTES = MOST_BODY_BYTES = 16_384
# A client may name the host in the request line, too; it is the same server.
_ORIGIN = re.compile(rb"https?://[^/?]*", re.IGNORECASE)


class Answer(Struct, frozen=True):
    """What is said to one request."""

    head: h11.Response
    body: bytes


def refusal(status: HTTPStatus) -> Answer:
    """Return what is said where no application is asked."""
    page = fault(status)
    return _answer(status, page.headers, page.body)


class Conversation:
    """One connection. Whoever waits for it says for how long."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEADER_BYTES)
        # Else an answer would count as sent that lies here, and be lost when the connection is closed.
        writer.transport.set_write_buffer_limits(high=0)
        self._is_head = False

    async def request(self) -> WSGIEnvironment | None:
        """Return the next request when all of it is here, None where there are no more.

        Raises h11.RemoteProtocolError at what is no request, or longer than may be.
        """
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
            self._is_head = False
        asked = await self._event() if self._http.our_state is h11.IDLE else None
        if not isinstance(asked, h11.Request):
            return None
        self._is_head = asked.method == b"HEAD"
        names = {name for name, _ in asked.headers}
        if {b"content-length", b"transfer-encoding"} <= names:
            # Who is between us may take the one, and we the other.
            raise h11.RemoteProtocolError("two lengths")
        body, expected = bytearray(), int(dict(asked.headers).get(b"content-length", 0))
        while max(expected, len(body)) <= MOST_BODY_BYTES:
            event = await self._event()
            if not isinstance(event, h11.Data):
                return _environ(asked, bytes(body), self._writer)
            body += event.data
        raise h11.RemoteProtocolError("body too long", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    async def say(self, answer: Answer) -> None:
        """Return when the system has taken all of this."""
        body = h11.Data(data=b"" if self._is_head else answer.body)
        await self._send(answer.head, body, h11.EndOfMessage())

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, reason=b"Continue", headers=[]))
            self._http.receive_data(await self._reader.read(MOST_HEADER_BYTES))
        return event

    async def _send(self, *events: h11.Event) -> None:
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
        await self._writer.drain()


def answer_of(application: WSGIApplication, environ: WSGIEnvironment) -> Answer:
    """Return what a WSGI application says to a request."""
    began: list[tuple[str, Headers]] = []
    said: list[bytes] = []

    def start_response(status: str, headers: Headers, _: object = None) -> Callable[[bytes], None]:
        began.append((status, headers))
        return said.append

    parts = application(environ, start_response)
    try:
        said.extend(parts)
    finally:
        getattr(parts, "close", lambda: None)()
    status, headers = began[-1]
    return _answer(HTTPStatus(int(status.partition(" ")[0])), headers, b"".join(said))


def _answer(status: HTTPStatus, headers: Headers, body: bytes) -> Answer:
    dated = [*headers, ("Date", formatdate(usegmt=True))]
    return Answer(h11.Response(status_code=status, reason=status.phrase.encode(), headers=dated), body)


def _environ(asked: h11.Request, body: bytes, writer: StreamWriter) -> WSGIEnvironment:
    path, _, query = _ORIGIN.sub(b"", asked.target, count=1).partition(b"?")
    here, there = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": asked.method.decode(),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": here[0],
        "SERVER_PORT": str(here[1]),
        "SERVER_PROTOCOL": f"HTTP/{asked.http_version.decode()}",
        "REMOTE_ADDR": there[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in asked.headers:
        name, value = raw_name.decode().upper().replace("-", "_"), raw_value.decode("latin-1")
        key = name if name == "CONTENT_TYPE" else f"HTTP_{name}"
        # X_Y would pass for X-Y.
        if b"_" not in raw_name and name != "CONTENT_LENGTH":
            environ[key] = f"{environ[key]}, {value}" if key in environ else value
    return environ
