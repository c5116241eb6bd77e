"""What it costs to be watched: measuring, somebody who asks for /metrics all the time, and traces."""

import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from benchmarks.arena import Arena
from benchmarks.contest import Case, Standing, hold
from benchmarks.designs import WORKER, Design
from benchmarks.fleet import Fleet
from benchmarks.measure import Measured, Run, drain
from benchmarks.scenarios.sizes import Sizes, Tell

# Fifteen times as often as Prometheus does by default.
SCRAPED_EVERY_S = 1.0
UNMEASURED = replace(WORKER, name="worker, unmeasured", argv=("-m", "benchmarks.designs.unmeasured", "run"))


def metrics(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare the worker as it is with one that measures nothing, and with one that is asked each second."""
    orders = sizes.of(80_000, 16_000)
    cases = [
        _case(arena, sizes, UNMEASURED, orders, "measures nothing"),
        _case(arena, sizes, UNMEASURED, orders, "measures nothing, again"),
        _case(arena, sizes, WORKER, orders, "as it is"),
        _case(arena, sizes, WORKER, orders, "as it is, asked each second", _scraping),
    ]
    return hold(cases, sizes.turns(8, 2), tell)


def traces(arena: Arena, sizes: Sizes, tell: Tell) -> list[Standing]:
    """Compare the worker as it is with one that follows one order in a hundred, and all orders."""
    orders = sizes.of(80_000, 16_000)
    with _receiver() as url:
        cases = [
            _case(arena, sizes, design, orders, name, against="off")
            for name, design in (
                ("off", WORKER),
                ("off, again", WORKER),
                ("1 in 100", _followed(url, "0.01")),
                ("every order", _followed(url, "1")),
            )
        ]
        return hold(cases, sizes.turns(8, 2), tell)


def _followed(url: str, share: str) -> Design:
    return replace(
        WORKER, name=f"worker, {share}", argv=("-m", "benchmarks.designs.followed", url, share, "run")
    )


@contextmanager
def _receiver() -> Iterator[str]:
    """Run a receiver of traces that throws away what it takes; yield where it is."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, name="receiver", daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _case(
    arena: Arena,
    sizes: Sizes,
    design: Design,
    orders: int,
    name: str,
    observed: Callable[[Fleet], AbstractContextManager[None]] = lambda _: nullcontext(),
    *,
    against: str = "measures nothing",
) -> Case:
    def run(turn: int) -> Measured:
        return drain(arena, Run(design=design, load=sizes.load(orders, turn)), observed)

    return Case(name=name, against=against, run=run)


@contextmanager
def _scraping(team: Fleet) -> Iterator[None]:
    over = Event()

    def ask() -> None:
        while not over.is_set():
            for port in team.ports:
                # One that is late is late for Prometheus, too.
                with (
                    suppress(OSError),
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page,
                ):
                    page.read()
            over.wait(SCRAPED_EVERY_S)

    thread = Thread(target=ask, name="scraping")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
