"""The HTTP thread over a real socket: methods, paths, bodies, broken requests."""

import gc
import http.client
import json
import logging
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from waitress.trigger import trigger

from local.directory import free_port
from tests.unit.test_views import Shown
from worker.domain.errors import ConfigurationError
from worker.ops import HttpServer
from worker.ops.server import MOST_CONNECTIONS, MOST_HEADER_BYTES
from worker.ops.views import Page


@pytest.fixture
def shown() -> Shown:
    made = Shown()
    made.ask()
    return made


@pytest.fixture
def port(shown: Shown) -> Iterator[int]:
    server = HttpServer(shown.application, host="127.0.0.1", port=free_port())
    server.start()
    yield server.port
    server.stop()


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
        b"GET http://[::1/ HTTP/1.0\r\n\r\n",
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

    assert status in {b"400", b"413", b"414", b"431", b"501", b""}
    assert ask(port, "/health")[0] == 200


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [told for told in caplog.records if told.levelno >= logging.ERROR]


def test_url_that_is_none_is_no_error_in_the_log(port: int, caplog: pytest.LogCaptureFixture) -> None:
    assert send(port, b"GET http://[::1/ HTTP/1.0\r\n\r\n") == b""
    assert ask(port, "/health")[0] == 200

    assert errors(caplog) == []


def test_request_that_is_refused_twice_is_no_error_in_the_log(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """After it has asked for the rest, the library reads more headers into what it had refused."""
    refused = b"GET / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: x\r\n\r\n"
    # Whether the rest of it is read before the connection is closed is chance.
    with suppress(ConnectionError):
        send(port, refused + b"x" * MOST_HEADER_BYTES)
    assert ask(port, "/health")[0] == 200

    assert errors(caplog) == []


DRIPS = {
    "a request line": b"GET /health HTTP/1.1\r\n" * 9,
    "headers": b"X: y\r\n" * 99,
    "blank lines": b"\r\n" * 99,
    "a body": b"x" * 99,
}
OPENINGS = {
    "headers": b"GET /health HTTP/1.1\r\n",
    "a body": b"POST /health HTTP/1.1\r\nContent-Length: 99\r\n\r\n",
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
        assert time.monotonic() - asked < 1
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
            kept.sendall(b"HEAD /health HTTP/1.1\r\n\r\n")
            assert kept.recv(10_000).startswith(b"HTTP/1.1 200")
            time.sleep(0.8)
        kept.sendall(b"HEAD /health ")
        time.sleep(2.5)
        kept.sendall(b"HTTP/1.1\r\n\r\n")

        assert kept.recv(10_000).startswith(b"HTTP/1.1 200")


def test_no_more_than_a_bounded_number_of_connections_is_served_at_once(port: int) -> None:
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(MOST_CONNECTIONS + 20)]

    with socket.create_connection(("127.0.0.1", port), timeout=0.5) as one_more:
        one_more.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        with pytest.raises(TimeoutError):
            one_more.recv(1)
        one_more.settimeout(10)
        assert one_more.recv(100).startswith(b"HTTP/1.0 200")

    for connection in idle:
        connection.close()


def test_page_that_fails_shows_no_trace(port: int, shown: Shown) -> None:
    def broken(_query: str) -> Page:
        raise RuntimeError("private detail")

    shown.views.routes = {"/health": broken}

    status, _, body = ask(port, "/health")

    assert (status, json.loads(body)) == (500, {"error": "internal error"})


def test_server_does_not_tell_what_it_is_made_of(port: int) -> None:
    _, headers, _ = ask(port, "/health")

    assert "Server" not in headers


@pytest.mark.parametrize("host", ["::", "[::]", "::0", "0::0", "::0.0.0.0", "0:0:0:0:0:0:0:0", "[0000::]"])
def test_any_address_in_ipv6_serves_ipv4_too(shown: Shown, host: str) -> None:
    server = HttpServer(shown.application, host=host, port=free_port())
    server.start()
    answers = []
    for address in ("127.0.0.1", "::1"):
        connection = http.client.HTTPConnection(address, server.port, timeout=5)
        connection.request("GET", "/health")
        answers.append(connection.getresponse().status)
        connection.close()
    server.stop()
    server.stop()

    assert answers == [200, 200]


@pytest.fixture
def refused_servers() -> Iterator[None]:
    """Collect what waitress leaves open when it can't listen."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.usefixtures("refused_servers")
def test_address_in_use_is_a_configuration_error(port: int, shown: Shown) -> None:
    with pytest.raises(ConfigurationError, match=f"^WORKER_HEALTH_HOST, WORKER_HEALTH_PORT: .*{port}"):
        HttpServer(shown.application, host="127.0.0.1", port=port)


@pytest.mark.usefixtures("refused_servers")
def test_host_that_is_no_address_is_a_configuration_error(shown: Shown) -> None:
    with pytest.raises(ConfigurationError, match=r"^WORKER_HEALTH_HOST, WORKER_HEALTH_PORT: "):
        HttpServer(shown.application, host="no such host", port=8003)


def test_server_woken_by_a_page_as_it_is_stopped_stops(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    server = HttpServer(shown.application, host="127.0.0.1", port=free_port())
    server.start()
    wake = trigger._physical_pull  # type: ignore[attr-defined]  # noqa: SLF001  the moment between two lines

    def wake_too_late(self: Any) -> None:
        wake(self)
        (loop,) = (each for each in threading.enumerate() if each.name == "http")
        loop.join(5)
        wake(self)

    monkeypatch.setattr(trigger, "_physical_pull", wake_too_late)
    server.stop()

    with pytest.raises(ConnectionRefusedError):
        ask(server.port, "/health")
