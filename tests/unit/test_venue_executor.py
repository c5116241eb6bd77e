"""The venue executor against a venue that says, line by line, what a test tells it to."""

import json
import logging
import socket
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from local.directory import free_port
from tests.builders import order
from worker.domain.endpoints import Endpoint
from worker.domain.errors import VenueUnavailable
from worker.domain.orders import Execution, Status
from worker.execution.answers import MalformedAnswer
from worker.execution.venue import OutcomeUnknown, VenueExecutor

FILL = {"trade_id": "t-1", "quantity": "0.5", "price": "100", "commission": "0.05"}
FILLED = {"order_id": "order-1", "status": "FILLED", "filled_quantity": "0.5", "trades": [FILL]}

Answer = tuple[int, object]


class Script:
    """What the venue answers to its next requests, in turn, and what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer | Callable[[BaseHTTPRequestHandler], None]] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def asked(self) -> list[str]:
        return [method for method, *_ in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.script.requests.append((self.command, self.path, dict(self.headers), body))
        answer = self.script.answers.pop(0)
        if callable(answer):
            answer(self)
            return
        status, said = answer
        raw = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = _any  # noqa: N815  the library's names

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing where the executor has hung up."""


def silent(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(0.6)
    handler.close_connection = True


def hung_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def server(script: Script) -> Iterator[Server]:
    kind = type("Scripted", (Handler,), {"script": script})
    made = Server(("127.0.0.1", 0), kind)
    Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def passwords() -> list[str]:
    """What has stood in the URL, at last."""
    return ["p%40ss"]


@pytest.fixture
def executor(server: Server, passwords: list[str]) -> Iterator[VenueExecutor]:
    place = Endpoint(lambda: f"http://me:{passwords[-1]}@127.0.0.1:{server.server_port}/api")
    made = VenueExecutor(place, timeout_s=5)
    yield made
    made.close()


def test_password_is_that_of_the_url_as_it_is_when_an_order_is_sent(
    executor: VenueExecutor, script: Script, passwords: list[str]
) -> None:
    script.answers = [(401, {}), (201, FILLED)]
    with pytest.raises(VenueUnavailable):
        executor.execute(order())

    passwords.append("other")
    executor.execute(order())

    first, second = (headers["Authorization"] for _, _, headers, _ in script.requests)
    assert [b64decode(each.removeprefix("Basic ")) for each in (first, second)] == [b"me:p@ss", b"me:other"]


def test_order_is_sent_with_its_id_as_key_and_amounts_as_text(
    executor: VenueExecutor, script: Script
) -> None:
    script.answers = [(201, FILLED)]

    executor.execute(order(quantity=Decimal("0.00000050")))

    ((method, path, headers, body),) = script.requests
    assert (method, path, headers["Idempotency-Key"]) == ("POST", "/api/orders", "order-1")
    assert json.loads(body) == {
        "order_id": "order-1", "symbol": "BTCUSDT", "side": "BUY", "quantity": "0.0000005", "price": "100",
    }  # fmt: skip
    assert headers["Authorization"] == "Basic bWU6cEBzcw=="


def test_fills_are_read_to_the_last_digit(executor: VenueExecutor, script: Script) -> None:
    parts = [
        {**FILL, "quantity": "0.100000000000000000000000000001"},
        {**FILL, "trade_id": "t-2", "quantity": "0.399999999999999999999999999999", "price": "101"},
    ]
    script.answers = [(200, {**FILLED, "trades": parts})]

    execution = executor.execute(order())

    assert execution.filled_quantity == Decimal("0.5")
    assert [trade.quantity for trade in execution.trades] == [Decimal(part["quantity"]) for part in parts]
    assert execution.average_price == Decimal("100.799999999999999999999999999998")


def test_order_that_is_refused_with_a_reason_is_rejected(executor: VenueExecutor, script: Script) -> None:
    script.answers = [(422, {"reason": "no margin"})]

    assert executor.execute(order()) == Execution(Status.REJECTED, error_message="no margin")


@pytest.mark.parametrize("status", [503, 429, 401, 403])
def test_venue_that_takes_no_orders_now_is_away(executor: VenueExecutor, script: Script, status: int) -> None:
    script.answers = [(status, {"reason": "closed"})]

    with pytest.raises(VenueUnavailable, match=str(status)):
        executor.execute(order())

    assert script.asked == ["POST"]


def test_venue_that_nobody_listens_for_is_away() -> None:
    executor = VenueExecutor(f"http://127.0.0.1:{free_port()}", timeout_s=1)

    with pytest.raises(VenueUnavailable):
        executor.execute(order())
    with pytest.raises(VenueUnavailable):
        executor.find("order-1")
    executor.close()


def test_venue_that_does_not_accept_the_connection_in_time_is_away() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        executor = VenueExecutor(f"http://127.0.0.1:{full.getsockname()[1]}", timeout_s=0.5)

        with pytest.raises(VenueUnavailable, match="ConnectTimeout"):
            executor.execute(order())
        executor.close()
        for each in waiting:
            each.close()


@pytest.mark.parametrize(
    "unclear", [silent, hung_up, (500, {}), (502, {}), (409, {"reason": "busy"}), (302, {})]
)
def test_order_whose_sending_ended_unclear_is_asked_for_and_never_sent_twice(
    executor: VenueExecutor, script: Script, unclear: Any
) -> None:
    script.answers = [unclear, (200, FILLED)]

    execution = executor.execute(order())

    assert execution.status is Status.FILLED
    assert script.asked == ["POST", "GET"]


def test_answer_is_waited_for_as_long_as_the_documentation_says(script: Script, server: Server) -> None:
    def late(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(1.3)
        raw = json.dumps(FILLED).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw)

    script.answers = [late]
    executor = VenueExecutor(f"http://127.0.0.1:{server.server_port}", timeout_s=2)

    execution = executor.execute(order())
    executor.close()

    assert execution.status is Status.FILLED
    assert script.asked == ["POST"]


def never(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(1.5)
    handler.close_connection = True


def begun_and_never_ended(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(0.7)
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.flush()
    with suppress(OSError):
        for _ in range(20):
            time.sleep(0.1)
            handler.wfile.write(b" ")
            handler.wfile.flush()


@pytest.mark.parametrize("slow", [never, begun_and_never_ended])
@pytest.mark.parametrize("what", ["execute", "find"])
def test_venue_that_takes_all_the_time_is_given_up_before_the_process_would_be(
    script: Script, server: Server, slow: Any, what: str
) -> None:
    script.answers = [slow]
    executor = VenueExecutor(f"http://127.0.0.1:{server.server_port}", timeout_s=1)
    began = time.monotonic()

    with pytest.raises((OutcomeUnknown, VenueUnavailable)):
        executor.execute(order()) if what == "execute" else executor.find("order-1")
    took_s = time.monotonic() - began
    executor.close()

    assert took_s < 1
    assert len(script.asked) == 1


@pytest.mark.parametrize("then", [[(404, {})], [(503, {})] * 3, [hung_up] * 3])
def test_order_that_stays_unclear_raises_what_is_tried_again(
    executor: VenueExecutor, script: Script, then: list[Any]
) -> None:
    script.answers = [hung_up, *then]

    with pytest.raises(OutcomeUnknown):
        executor.execute(order())

    assert script.asked.count("POST") == 1


def test_question_is_repeated_when_its_answer_is_lost(executor: VenueExecutor, script: Script) -> None:
    script.answers = [hung_up, (503, {}), (200, FILLED)]

    found = executor.find("order-1")

    assert found is not None
    assert found.status is Status.FILLED
    assert script.asked == ["GET"] * 3


def test_order_that_the_venue_does_not_know_is_none(executor: VenueExecutor, script: Script) -> None:
    script.answers = [(404, {})]

    assert executor.find("order-1") is None


def test_order_id_stays_one_part_of_the_path(executor: VenueExecutor, script: Script) -> None:
    order_id = "orders:1-1/../x y".replace(" ", "_")
    script.answers = [(404, {})]

    executor.find(order_id)

    assert script.requests[0][1] == "/api/orders/orders%3A1-1%2F..%2Fx_y"


MALFORMED = {
    "no JSON": b"<html>",
    "not UTF-8": b'{"order_id": "\xff"}',
    "amounts as numbers": {**FILLED, "filled_quantity": 0.5},
    "no number": {**FILLED, "filled_quantity": "NaN"},
    "too many digits": {**FILLED, "filled_quantity": "0." + "1" * 31},
    "another order": {**FILLED, "order_id": "order-2"},
    "not final": {**FILLED, "status": "OPEN"},
    "a status of ours": {**FILLED, "status": "SUBMITTED"},
    "trades that do not add up": {**FILLED, "filled_quantity": "0.4"},
    "filled with nothing": {**FILLED, "filled_quantity": "0", "trades": []},
    "rejected with something": {**FILLED, "status": "REJECTED"},
    "one trade twice": {**FILLED, "filled_quantity": "1", "trades": [FILL, FILL]},
    "a trade of less than nothing": {
        **FILLED,
        "trades": [{**FILL, "quantity": "1"}, {**FILL, "trade_id": "t-2", "quantity": "-0.5"}],
    },
    "a trade at no price": {**FILLED, "trades": [{**FILL, "price": "0"}]},
    "no trades": {"order_id": "order-1", "status": "FILLED", "filled_quantity": "0.5"},
    "a list": [],
}


@pytest.mark.parametrize("said", MALFORMED.values(), ids=MALFORMED.keys())
def test_answer_that_is_no_outcome_is_never_guessed(
    executor: VenueExecutor, script: Script, said: object
) -> None:
    script.answers = [(200, said), (200, said)]

    with pytest.raises(MalformedAnswer):
        executor.execute(order())
    with pytest.raises(MalformedAnswer):
        executor.find("order-1")


@pytest.mark.parametrize("said", [b"Not Found", {}, {"reason": None}])
def test_refusal_without_a_reason_is_no_refusal(
    executor: VenueExecutor, script: Script, said: object
) -> None:
    script.answers = [(404, said)]

    with pytest.raises(MalformedAnswer, match="answered 404 without a reason"):
        executor.execute(order())


def test_answer_without_end_is_cut_off(executor: VenueExecutor, script: Script) -> None:
    def dripping(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        with suppress(OSError):
            # Until nobody listens any more.
            while True:
                handler.wfile.write(b" ")
                time.sleep(0.05)

    script.answers = [dripping, (200, FILLED)]

    executor.execute(order())

    assert script.asked == ["POST", "GET"]


def test_answer_that_is_too_long_is_refused(executor: VenueExecutor, script: Script) -> None:
    script.answers = [(200, b" " * (1 << 21))]

    with pytest.raises(MalformedAnswer, match="longer"):
        executor.execute(order())


def test_neither_errors_nor_logs_show_the_credentials(
    executor: VenueExecutor, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    script.answers = [(503, {}), hung_up, (404, {}), (200, b"")]

    for _ in range(3):
        with pytest.raises((VenueUnavailable, OutcomeUnknown, MalformedAnswer)) as caught:
            executor.execute(order())
        assert "p@ss" not in f"{caught.value!r}{caught.value.__cause__!r}"
        assert "p%40ss" not in f"{caught.value!r}{caught.value.__cause__!r}"
    assert "/api/orders" in caplog.text
    assert "p@ss" not in caplog.text
    assert "p%40ss" not in caplog.text
