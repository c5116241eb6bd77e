"""The HTTP thread over a real socket: methods, paths, bodies, broken requests."""

import gc
import http.client
import json
import socket
import warnings
from collections.abc import Iterator

import pytest

from tests.unit.test_views import Shown
from worker.domain.errors import ConfigurationError
from worker.ops import HttpServer
from worker.ops.views import Page


@pytest.fixture
def shown() -> Shown:
    made = Shown()
    for server in made.answers:
        made.checks.ask(server)
    return made


@pytest.fixture
def port(shown: Shown) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free: int = probe.getsockname()[1]
    server = HttpServer(shown.views, host="127.0.0.1", port=free)
    server.start()
    yield free
    server.stop()


def ask(port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path)
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


def test_metrics_are_served_as_prometheus_wants_them(port: int) -> None:
    status, headers, body = ask(port, "/metrics")

    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    assert b"execution_orders_received_total 9.0" in body


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//",
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
    ],
    ids=["garbage", "a TLS hello", "a long path", "a long header"],
)
def test_broken_request_is_refused_and_the_next_one_answered(port: int, raw: bytes) -> None:
    try:
        status = send(port, raw).partition(b" ")[2][:3]
    except ConnectionError:
        status = b""

    assert status in {b"400", b"413", b"414", b"431", b""}
    assert ask(port, "/health")[0] == 200


def test_page_that_fails_shows_no_trace(port: int, shown: Shown) -> None:
    def broken(_query: str) -> Page:
        raise RuntimeError("private detail")

    shown.views.routes = {"/health": broken}

    status, _, body = ask(port, "/health")

    assert (status, json.loads(body)) == (500, {"error": "internal error"})


def test_server_does_not_tell_what_it_is_made_of(port: int) -> None:
    _, headers, _ = ask(port, "/health")

    assert "Server" not in headers


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
        HttpServer(shown.views, host="127.0.0.1", port=port)


@pytest.mark.usefixtures("refused_servers")
def test_host_that_is_no_address_is_a_configuration_error(shown: Shown) -> None:
    with pytest.raises(ConfigurationError, match=r"^WORKER_HEALTH_HOST, WORKER_HEALTH_PORT: "):
        HttpServer(shown.views, host="no such host", port=8003)
