"""Orders as programs write them, their ids, and the names that the client shares with the worker."""

import re
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest

from tests.builders import pairs, record
from worker import client, wire
from worker.client import Added, Order, OrderResult, ids
from worker.client.order import AMOUNTS, ORDER_ID
from worker.client.outcome import read_letter
from worker.domain import orders as domain
from worker.domain.deliveries import Delivery
from worker.domain.trace_context import TRACEPARENT
from worker.wire import names


def decoded(order: Order) -> Any:
    raw = tuple(part.encode() for pair in order.entry().items() for part in pair)
    decoder = wire.Decoder(
        source="orders", source_before="orders", order_id_field="order_id", max_bytes=65536, max_fields=64
    )
    return decoder.decode(Delivery("1-1", raw, 1, True))


def test_worker_reads_from_an_entry_what_the_program_wrote() -> None:
    order = Order(
        "BTC/USD", "sell", Decimal("1E-30"), price=10**19, stop_loss_pct="2.50", order_id="id-1",
        signal_id=7, reason="because", timestamp=1700000000, strategy_id="s", bot_id="b", client_id="c",
    )  # fmt: skip

    read = decoded(order)

    assert isinstance(read, domain.Order)
    assert (read.quantity, read.price) == (Decimal("1E-30"), Decimal(10**19))
    assert read.stop_loss_pct == Decimal("2.5")
    assert (read.order_id, read.symbol, read.side) == ("id-1", "BTC/USD", domain.Side.SELL)
    assert read.labels == domain.Labels("7", "because", "1700000000", "s", "b", "c")


def test_names_of_the_client_are_those_of_the_worker() -> None:
    labels = domain.Labels(**dict.fromkeys(domain.Labels.__struct_fields__, "x"))
    result = pairs(wire.result_fields(record("a", labels=labels, error_message="x", traceparent="x")))

    assert {field.name for field in fields(Order)} == names.ORDER_FIELDS - {"type"} | {TRACEPARENT}
    assert {field.name for field in fields(OrderResult)} == result.keys() - {"type"}
    assert {*map(str, client.Status)} == {*map(str, domain.WITH_RESULT)}
    assert {*map(str, client.Side)} == {*map(str, domain.Side)}
    assert set(AMOUNTS) == {"quantity", "price", "stop_loss_pct"} <= set(names.DECISIVE)


@pytest.mark.parametrize("text", ["a", "a" * 128, "a" * 129, "", "a b", "Az09._:/-", "\u0660", "a\n"])
def test_order_id_is_refused_that_the_worker_would_bury(text: str) -> None:
    assert bool(ORDER_ID.fullmatch(text)) == wire.is_order_id(text)


@pytest.mark.parametrize("name", AMOUNTS)
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0.1, TypeError),
        (True, TypeError),
        ("ten", ValueError),
        ("NaN", ValueError),
        (Decimal("inf"), ValueError),
    ],
)
def test_amount_is_refused_that_is_not_exact(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        Order(**{"symbol": "X", "side": "BUY", "quantity": 1, name: value})


def test_float_is_refused_with_what_to_give_instead() -> None:
    with pytest.raises(
        TypeError, match="quantity is a float, which is not exact: give a Decimal, an int or text"
    ):
        Order("X", "BUY", 0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"order_id": "no spaces"}, ValueError),
        ({"order_id": ""}, ValueError),
        ({"order_id": None}, TypeError),
        ({"reason": "half \ud800"}, ValueError),
        ({"reason": "NUL \0"}, ValueError),
        ({"timestamp": time.time()}, TypeError),
        ({"client_id": True}, TypeError),
    ],
)
def test_text_is_refused_that_would_not_arrive(changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Order(**{"symbol": "X", "side": "BUY", "quantity": 1, **changes})


def test_letter_of_the_worker_is_understood() -> None:
    renderer = wire.Renderer(
        source="s", consumer="c", version="1", copies=False, max_bytes=100, max_fields=9, clock=lambda: 0.0
    )
    letter = renderer.letter(
        Delivery("1-1", (b"quantity", b"\xff"), 1, True), reason="failed", error="no", order_id="a"
    )

    read = read_letter([part.encode() if isinstance(part, str) else part for part in letter.fields])

    assert read == ("1-1", "a", "failed", "no")


def test_order_is_minted_an_id_when_it_is_made_unless_it_is_given_one() -> None:
    minted, another = Order("X", "BUY", 1), Order("X", "BUY", 1)

    assert minted.order_id != another.order_id
    assert uuid.UUID(minted.order_id).version == 7
    assert replace(minted, quantity=2).order_id == minted.order_id
    assert Order("X", "BUY", 1, order_id="mine").order_id == "mine"


def test_result_is_looked_for_a_little_before_its_entry() -> None:
    assert Added("1700000005000-3", "a").since == "1700000000000-0"
    assert Added("4000-0", "a").since == "0-0"


def told_ms(minted: uuid.UUID) -> int:
    return minted.int >> 80


MINTS = [ids.own_uuid7, *([uuid.uuid7] if hasattr(uuid, "uuid7") else [])]


@pytest.mark.parametrize("mint", MINTS)
def test_minted_ids_are_uuids_of_version_7_that_rise_and_tell_their_time(mint: Any) -> None:
    before = time.time_ns() // 1_000_000
    minted = [mint() for _ in range(10_000)]

    assert minted == sorted(set(minted))
    assert {(each.version, each.variant) for each in minted} == {(7, uuid.RFC_4122)}
    assert all(before <= told_ms(each) <= time.time_ns() // 1_000_000 + 1 for each in minted)


def test_minted_ids_are_unique_and_rise_in_each_of_several_threads() -> None:
    with ThreadPoolExecutor(8) as pool:
        shares = list(pool.map(lambda _: [ids.own_uuid7() for _ in range(2000)], range(8)))

    assert all(share == sorted(share) for share in shares)
    assert len({each for share in shares for each in share}) == 16_000


def test_minted_ids_rise_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ids.own_uuid7()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000_000_000_000)

    assert first < ids.own_uuid7() < ids.own_uuid7()


def test_minted_ids_rise_when_the_counter_of_a_millisecond_is_used_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ids, "_last_ms", 2**47)
    monkeypatch.setattr(ids, "_counter", 2**42 - 2)

    minted = [ids.own_uuid7() for _ in range(3)]

    assert minted == sorted(minted)
    assert [told_ms(each) for each in minted] == [2**47, 2**47 + 1, 2**47 + 1]


FORKS = """
import os, time
from worker.client import ids
at = time.time_ns()
time.time_ns = lambda: at
before = ids.own_uuid7()
# A thread of the parent is minting; the child has no such thread.
ids._lock.acquire()
came, goes = os.pipe()
if os.fork() == 0:
    os.write(goes, f"{ids.own_uuid7()}".encode())
    os._exit(0)
ids._lock.release()
print(before, ids.own_uuid7(), os.read(came, 36).decode())
"""


def test_minted_ids_rise_on_their_own_in_a_process_that_was_forked_while_a_thread_minted_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS], check=True, capture_output=True, text=True, timeout=30
    )
    before, parents, forked = (uuid.UUID(each) for each in done.stdout.split())

    assert before < parents
    assert before < forked
    # Of what tells an id of the same instant from another all is drawn anew, not only its last 32 bits.
    assert forked.int >> 32 != parents.int >> 32


@pytest.mark.parametrize("module", ["worker.client", "worker.client.testing"])
def test_client_loads_redis_alone(module: str) -> None:
    program = (
        "import redis, redis.asyncio, sys; had = {*sys.modules}; "
        f"import {module}; print(*{{*sys.modules}} - had)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    loaded = done.stdout.split()

    ours = {each for each in loaded if re.match(r"worker(?!\.(client|ways)\b)", each)}
    assert ours == {"worker"}
    assert not {each.partition(".")[0] for each in loaded} - {"worker"} - sys.stdlib_module_names
