"""Raw bytes at a running server's port: it answers by the contract or closes, and it goes on serving."""

import contextlib
import gc
import logging
import re
import socket
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator

import pytest

from local.directory import free_port
from tests.faults.fuzz.clients import exchange
from tests.faults.fuzz.requests import LAST, request
from tests.faults.fuzz.seeds import SEED, case, drawn, numbers
from tests.faults.reporting import record
from tests.harness import eventually
from tests.unit.test_server import ask
from tests.unit.test_views import Shown
from worker.domain.errors import Outage
from worker.ops import HttpServer

REQUESTS = 1_000
TOGETHER = 100
SLOW = 40
# 100: a client may ask whether to go on. 501: an encoding of the body that the server does not know. No page
# may answer 500.
ANSWERS = {100, 200, 400, 404, 405, 413, 414, 417, 431, 501}
NEVER = re.compile(rb'Traceback|File "|site-packages|h11|asyncio|Exception|Error:')
FLAT_BYTES = 300_000


@pytest.fixture
def shown() -> Shown:
    made = Shown()
    made.ask()
    return made


@pytest.fixture
def server(shown: Shown, caplog: pytest.LogCaptureFixture) -> Iterator[HttpServer]:
    """A server that has to end without a thread, a connection or a complaint left behind."""
    before = set(threading.enumerate())
    made = HttpServer(shown.application, host="127.0.0.1", port=free_port())
    made.start()
    yield made
    made.stop()
    eventually(lambda: set(threading.enumerate()) <= before)
    told = [*caplog.get_records("call"), *caplog.get_records("teardown")]
    complaints = [each.getMessage() for each in told if each.levelno >= logging.ERROR]
    assert complaints == []


def connections(server: HttpServer) -> int:
    """How many clients the server has."""
    return len(server._clients)  # noqa: SLF001  nobody else knows


def test_no_bytes_bring_a_page_that_fails_or_keep_the_server_from_the_next_client(
    server: HttpServer, shown: Shown
) -> None:
    seen = Counter[int]()
    idle, held = connections(server), []
    every = list(numbers(REQUESTS))
    tracemalloc.start()
    try:
        for first in range(0, len(every), TOGETHER):
            wave = every[first : first + TOGETHER]
            shown.ask()
            raws = [request(drawn("request", number)) for number in wave]
            for number, raw, client in zip(wave, raws, exchange(server.port, raws), strict=True):
                with case(number, raw):
                    assert set(client.statuses) <= ANSWERS
                    assert not NEVER.search(client.heard)
                    if raw == LAST:
                        assert client.statuses
                seen.update(client.statuses)
            assert ask(server.port, "/health")[0] == 200
            eventually(lambda: connections(server) == idle)
            del raws, client, raw
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()

    if len(held) > 4:
        assert min(seen[200], seen[400], seen[404], seen[405]) > REQUESTS // 50, seen
        assert held[-1] - held[len(held) // 2] < FLAT_BYTES, held
    record("fuzz", "http", requests=len(every), seed=SEED, answers=dict(sorted(seen.items())))


def test_pages_of_a_worker_in_trouble_answer_503_where_documented_and_nothing_worse(
    server: HttpServer, shown: Shown
) -> None:
    shown.vitals.sign_of_life_age_s = 1e6
    shown.database = Outage("postgresql", "gone")
    shown.recent = Outage("postgresql", "gone")
    seen = Counter[int]()
    for first in range(0, len(numbers(REQUESTS // 5)), TOGETHER):
        wave = list(numbers(REQUESTS // 5))[first : first + TOGETHER]
        shown.ask()
        raws = [request(drawn("trouble", number)) for number in wave]
        for number, raw, client in zip(wave, raws, exchange(server.port, raws), strict=True):
            with case(number, raw):
                assert set(client.statuses) <= ANSWERS | {503}
                assert not NEVER.search(client.heard)
            seen.update(client.statuses)

    assert ask(server.port, "/status")[0] == 200
    assert seen[503] or len(numbers(REQUESTS)) == 1


def dripped(client: socket.socket) -> None:
    """Send a little more of a request that never ends."""
    with contextlib.suppress(OSError):
        client.sendall(b"X: y\r\n")


def test_requests_that_come_in_pieces_hold_up_nobody_and_are_let_go(server: HttpServer) -> None:
    idle = connections(server)
    slow, endless = [], []
    # More at once than the server serves would wait for a place.
    for number in numbers(SLOW)[:SLOW]:
        raw = request(drawn("slow", number)).removesuffix(LAST)
        slow.append(socket.create_connection(("127.0.0.1", server.port), timeout=5))
        slow[-1].sendall(raw[: len(raw) // 2])
        endless.append(socket.create_connection(("127.0.0.1", server.port), timeout=5))
        endless[-1].sendall(b"GET /health HTTP/1.1\r\n")

    def all_are_let_go() -> bool:
        for client in endless:
            dripped(client)
        return connections(server) == idle

    for path in ("/health", "/ready", "/status", "/metrics", "/orders") * 10:
        assert ask(server.port, path)[0] == 200
    eventually(all_are_let_go, within=30)

    for client in slow + endless:
        client.close()
