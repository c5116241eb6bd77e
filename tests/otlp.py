"""A receiver of OTLP over HTTP: it decodes what it is sent, and may be slow, refuse, or never answer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Received
from opentelemetry.proto.trace.v1.trace_pb2 import Status


class SentSpan(Struct, frozen=True):
    """One span as it was sent, ids in hexadecimal digits. `links` are pairs of trace and span."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    began: int
    ended: int
    attributes: dict[str, Any]
    links: Sequence[tuple[str, str]]
    events: Sequence[tuple[str, dict[str, Any]]]
    failed: bool


class Receiver:
    """What was sent to a receiver, and how it answers: with `status`, once `open` is set."""

    def __init__(self) -> None:
        self.status = 200
        self.open = Event()
        self.open.set()
        self.requests = 0
        self.headers: list[dict[str, str]] = []
        self._lock = Lock()
        self._spans: list[SentSpan] = []
        self.port = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[SentSpan]:
        """What it has taken, in the order in which the spans began."""
        with self._lock:
            return sorted(self._spans, key=lambda span: span.began)

    def named(self, name: str) -> list[SentSpan]:
        """Return the spans of a name."""
        return [each for each in self.spans if each.name == name]

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        """Take what was posted, and return the status to answer with."""
        self.requests += 1
        self.open.wait()
        if self.status == 200:
            with self._lock:
                self.headers.append(headers)
                self._spans += _spans_of(ExportTraceServiceRequest.FromString(body))
        return self.status


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver until the block ends."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.take(body, dict(self.headers.items())) if self.path == "/v1/traces" else 404
            said = ExportTraceServiceResponse().SerializeToString()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)
            except OSError:
                # Whoever waited has left.
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_port
    thread = Thread(target=server.serve_forever, args=(0.05,), name="receiver", daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.open.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _spans_of(request: ExportTraceServiceRequest) -> Iterator[SentSpan]:
    for resource in request.resource_spans:
        service = _attributes(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield SentSpan(
                    service=service,
                    name=span.name,
                    kind=Received.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    began=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                    attributes=_attributes(span.attributes),
                    links=[(each.trace_id.hex(), each.span_id.hex()) for each in span.links],
                    events=[(each.name, _attributes(each.attributes)) for each in span.events],
                    failed=span.status.code == Status.STATUS_CODE_ERROR,
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
