"""A small trading venue in a process of its own: what it takes is in its book, durably, before it answers.

Run as `python -m tests.venue PORT BOOK [deduplicating]`. The client id of an order says how it is treated:
`reject`, `partial`, `refuse` (503, once), `drop` (recorded, the connection closed, once), `slow` (recorded,
answered late); anything else is filled.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import unquote

from local.directory import free_port
from tests.harness import eventually
from tests.processes import ROOT

SLOW_S = 0.05


class Book:
    """Every order that was taken, one line each, in the order of their arrival."""

    def __init__(self, path: Path, *, deduplicating: bool) -> None:
        self._path = path
        self._deduplicating = deduplicating
        self._lock = Lock()
        self._outcomes: dict[str, dict[str, Any]] = {}
        self._treated_once: set[str] = set()

    def once(self, order_id: str) -> bool:
        """Whether this is the first time that it is asked for this order."""
        with self._lock:
            first = order_id not in self._treated_once
            self._treated_once.add(order_id)
            return first

    def take(self, order: dict[str, str]) -> dict[str, Any]:
        """Execute an order, again where it came before unless keys are honoured."""
        with self._lock:
            known = self._outcomes.get(order["order_id"])
            if known is not None and self._deduplicating:
                return known
            outcome = _outcome(order)
            with self._path.open("a", encoding="utf-8") as book:
                book.write(json.dumps(outcome) + "\n")
                book.flush()
                os.fsync(book.fileno())
            self._outcomes[order["order_id"]] = known or outcome
            return outcome

    def find(self, order_id: str) -> dict[str, Any] | None:
        """Return what became of an order."""
        with self._lock:
            return self._outcomes.get(order_id)


def _outcome(order: dict[str, str]) -> dict[str, Any]:
    if treatment(order) == "reject":
        return {"order_id": order["order_id"], "status": "REJECTED", "reason": "no margin"}
    quantity = Decimal(order["quantity"])
    if treatment(order) == "partial":
        quantity /= 2
    # Two fills of unlike size, which must add up to the last digit.
    first = quantity.quantize(Decimal("1e-6")) / 4
    parts = [first, quantity - first] if first > 0 else [quantity]
    return {
        "order_id": order["order_id"],
        "status": "FILLED",
        "filled_quantity": str(quantity),
        "trades": [
            {
                "trade_id": f"{order['order_id']}-{n}",
                "quantity": str(part),
                "price": order.get("price", "100"),
                "commission": "0.001",
            }
            for n, part in enumerate(parts)
        ],
    }


def treatment(order: dict[str, str]) -> str:
    """Return how an order wants to be treated."""
    return order.get("client_id", "").partition("-")[0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    book: Book

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Idempotency-Key"] == order["order_id"]
        how = treatment(order)
        if how == "refuse" and self.book.once(order["order_id"]):
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"reason": "try later"})
            return
        outcome = self.book.take(order)
        if how == "drop" and self.book.once(order["order_id"]):
            self.close_connection = True
            return
        if how == "slow":
            time.sleep(SLOW_S)
        if how == "reject":
            self._answer(HTTPStatus.UNPROCESSABLE_ENTITY, outcome)
        else:
            self._answer(HTTPStatus.CREATED, outcome)

    def do_GET(self) -> None:
        found = self.book.find(unquote(self.path.rpartition("/")[2]))
        if self.path == "/":
            self._answer(HTTPStatus.OK, {})
        elif found is None:
            self._answer(HTTPStatus.NOT_FOUND, {})
        else:
            self._answer(HTTPStatus.OK, found)

    def _answer(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        said = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


class Venue:
    """A running venue, as a test sees it."""

    def __init__(self, url: str, book: Path) -> None:
        self.url = url
        self._book = book

    @property
    def book(self) -> Counter[str]:
        """How often each order was executed."""
        lines = self._book.read_text(encoding="utf-8").splitlines()
        return Counter(json.loads(line)["order_id"] for line in lines)


@contextmanager
def venue(folder: Path, *, deduplicating: bool) -> Iterator[Venue]:
    """Run a venue until the block ends."""
    book = folder / "book.jsonl"
    book.touch()
    port = free_port()
    command = [sys.executable, "-m", "tests.venue", str(port), str(book)]
    with (folder / "venue.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "deduplicating"] if deduplicating else command, cwd=ROOT, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _answers(url))
        yield Venue(url, book)
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310  a venue of this test
            return True
    except OSError:
        return False


def main(port: str, book: str, deduplicating: str = "") -> None:
    """Serve for ever."""
    _Handler.book = Book(Path(book), deduplicating=bool(deduplicating))
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
