"""The HTTP thread over a real socket: methods, paths, bodies, broken requests."""

import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.validate import validator

import pytest

from local.directory import free_port
from tests.harness import busyness, eventually
from tests.unit.test_views import Shown
from worker.domain.errors import ConfigurationError
from worker.ops import HttpServer, server
from worker.ops.conversation import MOST_BODY_BYTES, MOST_HEADER_BYTES
from worker.ops.server import BUFFER_BYTES, MOST_ASKING, MOST_CONNECTIONS
from worker.ops.views import AT_ONCE, Page


@pytest.fixture
def shown() -> Shown:
    made = Shown()
    made.ask()
    return made


@pytest.fixture
def serving(shown: Shown) -> Iterator[HttpServer]:
    made = HttpServer(shown.application, host="127.0.0.1", port=free_port())
    made.start()
    yield made
    made.stop()


@pytest.fixture
def port(serving: HttpServer) -> int:
    return serving.port


def ask(
    port: int, path: str, method: str = "GET", headers: Mapping[str, str] = {}
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def send(port: int, raw: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(raw)
        found = b""
        while chunk := connection.recv(65_536):
            found += chunk
        return found


@pytest.mark.parametrize("path", ["/health", "/ready", "/status", "/orders", "/orders?limit=5"])
def test_page_is_json_and_not_cached(port: int, path: str) -> None:
    status, headers, body = ask(port, path)

    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-store"
    assert isinstance(json.loads(body), dict)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_client_that_expects_to_be_told_to_continue_and_sends_nothing_more_is_answered(
    port: int, method: str
) -> None:
    asked = f"{method} /health HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"

    found = send(port, asked.encode())

    assert found.startswith(b"HTTP/1.1 405" if method == "POST" else b"HTTP/1.1 200")


def test_client_that_expects_to_be_told_to_continue_is_told_and_then_answered(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(
            b"GET /health HTTP/1.1\r\nHost: x\r\n"
            b"Expect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        )
        told = connection.recv(65_536)
        connection.sendall(b"{}")
        answered = b""
        while chunk := connection.recv(65_536):
            answered += chunk

    assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answered.startswith(b"HTTP/1.1 200")


def test_body_that_came_with_the_expectation_is_enough(port: int) -> None:
    found = send(
        port,
        b"GET /health HTTP/1.1\r\nHost: x\r\n"
        b"Expect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    )

    assert found.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_metrics_are_served_as_prometheus_wants_them(port: int) -> None:
    status, headers, body = ask(port, "/metrics")

    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    assert b"execution_orders_received_total 9.0" in body


@pytest.mark.parametrize(
    "path",
    [
        "//",
        "//health",
        "/%2fhealth",
        "///orders?limit=1",
        "/health//",
        "/health;x",
        "/..",
        "/%2e%2e",
        "/%2e%2e%2fhealth",
        "/%c0%ae%c0%ae/health",
        "/health/",
        "/Health",
        "/../health",
        "/x/../health",
        "/%2e%2e/health",
        "/health%00",
        "/health%2f",
        "/favicon.ico",
    ],
)
def test_unknown_path_is_not_found(port: int, path: str) -> None:
    status, _, body = ask(port, path)

    assert (status, json.loads(body)) == (404, {"error": "not found"})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_not_allowed_and_told_which_are(port: int, method: str) -> None:
    status, headers, _ = ask(port, "/health", method)

    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/health", "/metrics", "/orders?limit=0", "/nowhere"])
def test_head_is_get_without_a_body(port: int, path: str) -> None:
    got, head = ask(port, path), ask(port, path, "HEAD")

    assert head[0] == got[0]
    assert head[2] == b""
    assert head[1]["Content-Type"] == got[1]["Content-Type"]
    assert abs(int(head[1]["Content-Length"]) - len(got[2])) < 20


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.0\r\n\r\n",
        b"GET /health HTTP/1.0\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"POST /health HTTP/1.0\r\nContent-Length: 99999999\r\n\r\n",
        b"POST /health HTTP/1.0\r\nContent-Length: -1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nTransfer-Encoding: junk\r\n\r\n",
        b"GET /health\r\nHost : x\r\n\r\n",
        b"GET http://[::1/nothing HTTP/1.0\r\n\r\n",
        bytes(range(256)) + b"\r\n\r\n",
    ],
    ids=[
        "garbage",
        "a TLS hello",
        "a long path",
        "a long header",
        "many headers",
        "a long body",
        "a negative length",
        "an unknown encoding",
        "a header with a space",
        "a broken host",
        "every byte",
    ],
)
def test_broken_request_is_refused_and_the_next_one_answered(port: int, raw: bytes) -> None:
    try:
        status = send(port, raw).partition(b" ")[2][:3]
    except ConnectionError:
        status = b""

    assert status in {b"400", b"404", b"413", b"414", b"431", b"501", b""}
    assert ask(port, "/health")[0] == 200


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [told for told in caplog.records if told.levelno >= logging.ERROR]


def test_url_that_is_none_is_no_error_in_the_log(port: int, caplog: pytest.LogCaptureFixture) -> None:
    assert send(port, b"GET http://[::1/nothing HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 404")
    assert ask(port, "/health")[0] == 200

    assert errors(caplog) == []


def test_request_that_is_refused_and_goes_on_is_no_error_in_the_log(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    refused = b"GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: x\r\n\r\n"
    # Whether the rest of it is read before the connection is closed is chance.
    with suppress(ConnectionError):
        send(port, refused + b"x" * MOST_HEADER_BYTES)
    assert ask(port, "/health")[0] == 200

    assert errors(caplog) == []


def test_what_follows_a_head_and_is_no_request_is_refused_with_a_word(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    found = send(port, b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\nGARBAGE\r\n\r\n")

    assert found.endswith(b'{"error": "bad request"}\n')
    assert errors(caplog) == []


DRIPS = {
    "a request line": b"GET /health HTTP/1.1\r\n" * 9,
    "headers": b"X: y\r\n" * 99,
    "a body": b"x" * 99,
}
OPENINGS = {
    "headers": b"GET /health HTTP/1.1\r\nHost: x\r\n",
    "a body": b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n",
}


def test_slow_clients_are_closed_after_five_seconds_and_hold_up_nobody(port: int) -> None:
    slow = {name: socket.create_connection(("127.0.0.1", port)) for name in (*DRIPS, "nothing at all")}
    for name, opening in OPENINGS.items():
        slow[name].sendall(opening)
    began = time.monotonic()
    lived: dict[str, float] = {}

    while slow and time.monotonic() - began < 12:
        asked = time.monotonic()
        assert ask(port, "/health")[0] == 200
        assert time.monotonic() - asked < busyness()
        for name, connection in list(slow.items()):
            drop = int(4 * (asked - began))
            if _has_ended(connection, DRIPS.get(name, b"")[drop : drop + 1]):
                lived[name] = time.monotonic() - began
                slow.pop(name).close()
        time.sleep(0.25)

    for connection in slow.values():
        connection.close()
    assert lived.keys() == {*DRIPS, "nothing at all"}
    assert all(4 < seconds < 9 for seconds in lived.values()), lived


def _has_ended(connection: socket.socket, drop: bytes) -> bool:
    connection.settimeout(0.01)
    try:
        if drop:
            connection.sendall(drop)
        return connection.recv(1000) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_client_that_keeps_its_connection_has_its_time_for_each_request(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as kept:
        for _ in range(7):
            kept.sendall(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert kept.recv(10_000).startswith(b"HTTP/1.1 200")
            time.sleep(0.8)
        kept.sendall(b"HEAD /health ")
        time.sleep(2.5)
        kept.sendall(b"HTTP/1.1\r\nHost: x\r\n\r\n")

        assert kept.recv(10_000).startswith(b"HTTP/1.1 200")


def test_no_more_than_a_bounded_number_of_connections_is_held_and_the_newest_is_served(port: int) -> None:
    with ExitStack() as opened:
        idle = [
            opened.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(MOST_CONNECTIONS + 20)
        ]
        asked = time.monotonic()

        status = ask(port, "/health")[0]
        took = time.monotonic() - asked
        # Each that came when there was no place has taken that of the one that has said nothing for longest.
        eventually(lambda: all(_has_ended(connection, b"") for connection in idle[:21]))
        others = [_has_ended(connection, b"") for connection in idle[21:]]

    assert status == 200
    assert took < busyness()
    assert not any(others)


def test_whoever_has_been_here_for_longest_makes_room_where_all_wait_for_answers(
    serving: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that nobody takes health away by asking for pages that wait."""
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)
    page = Hanging(serving)
    with ExitStack() as opened:
        waiting = [opened.enter_context(asked_for(serving.port, "/a-page")) for _ in range(3)]
        eventually(lambda: page.entered == 3)

        newest = send(serving.port, b"GET /health HTTP/1.0\r\n\r\n")
        page.go_on.set()

        assert newest.startswith(b"HTTP/1.1 200")
        first, *others = [has_ended_or(connection) for connection in waiting]
        assert first == b""
        assert all(answer.startswith(b"HTTP/1.1 204") for answer in others)


def has_ended_or(connection: socket.socket) -> bytes:
    """Return what comes on a connection, nothing where it was closed."""
    try:
        return connection.recv(100)
    except ConnectionError:
        return b""


def test_request_of_two_lengths_is_refused(port: int) -> None:
    raw = (
        b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    )

    said = send(port, raw)

    assert said.startswith(b"HTTP/1.1 400")
    assert said.count(b"HTTP/1.1") == 1


class Hanging:
    """An application whose pages wait for a server; what is answered at once is answered as ever."""

    def __init__(self, serving: HttpServer) -> None:
        self.go_on = threading.Event()
        self.entered = 0
        self._views = serving.application
        serving.application = self

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] in AT_ONCE:
            return self._views(environ, start_response)
        self.entered += 1
        self.go_on.wait(20)
        start_response("204 No Content", [])
        return []


def asked_for(port: int, path: str) -> socket.socket:
    """Ask for a page, and leave its answer for later."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return connection


def test_health_is_answered_while_every_thread_waits_for_a_server(serving: HttpServer) -> None:
    page = Hanging(serving)
    with ExitStack() as opened:
        threads = threading.active_count()
        for _ in range(3 * MOST_ASKING):
            opened.enter_context(asked_for(serving.port, "/a-page"))
        eventually(lambda: page.entered == MOST_ASKING)
        asked = time.monotonic()

        found = [ask(serving.port, path)[0] for path in sorted(AT_ONCE)]
        took = time.monotonic() - asked
        # Twice as many as there may be wait for a thread.
        started = threading.active_count() - threads
        waited_for = [each for each in threading.enumerate() if each.name == "page" and not each.daemon]
        page.go_on.set()
        eventually(lambda: page.entered == 3 * MOST_ASKING)

    assert found == [200] * len(AT_ONCE)
    assert took < busyness()
    assert started == MOST_ASKING
    assert waited_for == []


def test_page_that_no_thread_becomes_free_for_is_unavailable(
    serving: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PATIENCE_S", 0.2)
    page = Hanging(serving)
    with ExitStack() as opened:
        for _ in range(MOST_ASKING):
            opened.enter_context(asked_for(serving.port, "/a-page"))
        eventually(lambda: page.entered == MOST_ASKING)

        status, _, body = ask(serving.port, "/a-page")
        page.go_on.set()
        eventually(lambda: ask(serving.port, "/a-page")[0] == 204)

    assert (status, json.loads(body)) == (503, {"error": "service unavailable"})


def test_pages_that_are_answered_at_once_are_all_but_the_one_that_asks(shown: Shown) -> None:
    assert shown.views.routes.keys() - {"/orders"} == AT_ONCE


def test_client_that_reads_no_answers_is_let_go(serving: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE_S", 1)
    with ExitStack() as opened:
        deaf = [opened.enter_context(socket.socket()) for _ in range(5)]
        for connection in deaf:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.connect(("127.0.0.1", serving.port))
            connection.setblocking(False)
            with suppress(BlockingIOError):
                connection.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 400)

        assert ask(serving.port, "/health")[0] == 200
        eventually(lambda: not clients(serving), within=10)


def test_system_takes_little_for_each_client(serving: HttpServer) -> None:
    (listening,) = serving._listening.sockets  # noqa: SLF001  connections inherit what is set here

    for kind in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        # Linux doubles what is asked for.
        assert listening.getsockopt(socket.SOL_SOCKET, kind) <= 2 * BUFFER_BYTES


def test_client_that_reads_slowly_gets_all_of_an_answer(serving: HttpServer) -> None:
    # Nobody knows what the system takes. Of some of these less stays than the 64 KiB that asyncio calls sent.
    sizes = range(48_000, 320_000, 16_000)

    def large(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [bytes(int(environ["PATH_INFO"][1:]))]

    serving.application = large
    with ExitStack() as opened:
        asked = []
        for size in sizes:
            slow = opened.enter_context(socket.socket())
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.connect(("127.0.0.1", serving.port))
            slow.sendall(f"GET /{size} HTTP/1.0\r\n\r\n".encode())
            asked.append(slow)
        time.sleep(0.2)
        answers = [b"".join(iter(partial(slow.recv, 65_536), b"")) for slow in asked]

    assert [len(answer.partition(b"\r\n\r\n")[2]) for answer in answers] == list(sizes)


def clients(serving: HttpServer) -> int:
    return len(serving._clients)  # noqa: SLF001  nobody else knows


def test_clients_that_send_a_thousand_requests_at_once_hold_up_nobody(port: int) -> None:
    with ExitStack() as opened:
        for _ in range(40):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.setblocking(False)
            with suppress(BlockingIOError):
                connection.send(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000)
        asked = time.monotonic()

        status = ask(port, "/health")[0]

    assert status == 200
    assert time.monotonic() - asked < busyness()


def test_requests_sent_at_once_are_answered_in_their_order(port: int) -> None:
    paths = ["/health", "/nowhere", "/orders", "/status"]
    asked = [f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths]
    last = "GET /orders?limit=0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    found = send(port, "".join([*asked, last]).encode())

    assert [line[9:12] for line in found.splitlines() if line.startswith(b"HTTP/1.1")] == [
        b"200", b"404", b"200", b"200", b"400",
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["/health", "/a-page"])
def test_client_that_has_closed_its_own_side_is_answered(serving: HttpServer, path: str) -> None:
    page = Hanging(serving)
    threading.Timer(0.3, page.go_on.set).start()
    with asked_for(serving.port, path) as connection:
        connection.shutdown(socket.SHUT_WR)

        assert connection.recv(100)[:10] == b"HTTP/1.1 2"


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    said = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']} ".encode()
    said += f"{environ['HTTP_X_ROLE']} ".encode()
    said += environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", [("Content-Type", environ.get("CONTENT_TYPE", "text/plain"))])
    return [said]


@pytest.mark.parametrize("length", [0, 1, MOST_BODY_BYTES])
@pytest.mark.parametrize("framing", ["a length", "chunks"])
def test_application_gets_what_wsgi_promises(serving: HttpServer, length: int, framing: str) -> None:
    # It raises at whatever is not as PEP 3333 has it.
    serving.application = validator(echo)
    body = b"x" * length
    connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=5)

    connection.request(
        "POST",
        "/dead/replay?a=b&c",
        iter([body]) if framing == "chunks" else body,
        {"Content-Type": "text/x", "X-Role": "reader", "X_Role": "admin"},
        encode_chunked=framing == "chunks",
    )
    answer = connection.getresponse()

    assert answer.read() == b"POST /dead/replay?a=b&c reader " + body
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/x")
    connection.close()


@pytest.mark.parametrize(
    "framing",
    [
        f"Content-Length: {MOST_BODY_BYTES + 1}\r\n\r\n".encode(),
        b"Transfer-Encoding: chunked\r\n\r\n"
        + f"{MOST_BODY_BYTES + 1:x}\r\n{'x' * MOST_BODY_BYTES}x\r\n0\r\n\r\n".encode(),
    ],
    ids=["said before", "found out"],
)
def test_body_that_is_too_long_is_refused(port: int, framing: bytes) -> None:
    found = send(port, b"POST /health HTTP/1.1\r\nHost: x\r\n" + framing)

    assert found.startswith(b"HTTP/1.1 413")


def test_host_may_stand_in_the_request_line(port: int) -> None:
    assert send(port, b"GET http://x:8003/health HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", ["/health", "/orders"])
def test_page_that_fails_shows_no_trace(port: int, shown: Shown, path: str) -> None:
    def broken(_query: str) -> Page:
        raise RuntimeError("private detail")

    shown.views.routes = {path: broken}

    status, _, body = ask(port, path)

    assert (status, json.loads(body)) == (500, {"error": "internal error"})


def test_server_does_not_tell_what_it_is_made_of(port: int) -> None:
    _, headers, _ = ask(port, "/health")

    assert "Server" not in headers


@pytest.mark.parametrize("host", ["::", "[::]", "::0", "0::0", "::0.0.0.0", "0:0:0:0:0:0:0:0", "[0000::]"])
def test_any_address_in_ipv6_serves_ipv4_too(shown: Shown, host: str) -> None:
    made = HttpServer(shown.application, host=host, port=free_port())
    made.start()
    answers = []
    for address in ("127.0.0.1", "::1"):
        connection = http.client.HTTPConnection(address, made.port, timeout=5)
        connection.request("GET", "/health")
        answers.append(connection.getresponse().status)
        connection.close()
    made.stop()

    assert answers == [200, 200]


def test_address_in_use_is_a_configuration_error(port: int, shown: Shown) -> None:
    with pytest.raises(ConfigurationError, match=f"^WORKER_HEALTH_HOST, WORKER_HEALTH_PORT: .*{port}"):
        HttpServer(shown.application, host="127.0.0.1", port=port)


def test_host_that_is_no_address_is_a_configuration_error(shown: Shown) -> None:
    with pytest.raises(ConfigurationError, match=r"^WORKER_HEALTH_HOST, WORKER_HEALTH_PORT: "):
        HttpServer(shown.application, host="no such host", port=8003)


@pytest.mark.parametrize("moment", ["before it has begun", "at once", "while a page waits"])
def test_server_stops_within_a_second_and_leaves_its_port(shown: Shown, moment: str) -> None:
    before = set(threading.enumerate())
    made = HttpServer(shown.application, host="127.0.0.1", port=free_port())
    page = Hanging(made)
    with ExitStack() as opened:
        if moment != "before it has begun":
            made.start()
        if moment == "while a page waits":
            opened.enter_context(asked_for(made.port, "/a-page"))
            eventually(lambda: page.entered == 1)
        began = time.monotonic()

        made.stop()
        made.stop()
        took = time.monotonic() - began

        HttpServer(shown.application, host="127.0.0.1", port=made.port).stop()
        page.go_on.set()
    eventually(lambda: set(threading.enumerate()) <= before)
    assert took < busyness()
