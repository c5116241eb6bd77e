"""Every class of entries, generated: each gets the response the contract promises, at next to no cost."""

import json
import time
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from msgspec.structs import asdict

from tests.builders import decoder, delivery, flat
from tests.strategies import Case, cases, sound, unsound
from worker.domain.decimals import Digits
from worker.domain.orders import DeadReason, Labels, Order, Undecodable, UnsoundOrder


def response(fields: tuple[bytes, ...]) -> str:
    found = decoder().decode(delivery("5-1", fields))
    if isinstance(found, Undecodable):
        return found.reason
    return "executed" if isinstance(found, Order) else "rejected"


@settings(max_examples=500)
@given(case=cases())
def test_entry_of_every_class_gets_its_response(case: Case) -> None:
    assert response(case.named("case-00001")) == case.response


@given(case=sound())
def test_sound_order_of_any_spelling_is_kept_exactly(case: Case) -> None:
    assert case.content is not None

    found = decoder().decode(delivery("5-1", case.named("case-00001")))

    assert isinstance(found, Order)
    assert Fraction(found.quantity) == Fraction(str(case.content["quantity"]))
    assert asdict(found.labels) == {name: case.content.get(name) for name in Labels.__struct_fields__}


@given(case=sound() | unsound())
def test_order_said_again_is_the_same_and_with_another_quantity_is_not(case: Case) -> None:
    prints = []
    for each in (case, case.said_again(), case.said_again(quantity="1234567.890123")):
        found = decoder().decode(delivery("5-1", each.named("case-00001")))
        assert isinstance(found, Order | UnsoundOrder)
        prints.append(found.fingerprint)

    assert prints[0] == prints[1] != prints[2]


def nested(depth: int, opening: str, closing: str) -> tuple[bytes, ...]:
    """Return an order whose payload is nested so deep, its own braces counted."""
    return (
        b"payload",
        b'{"symbol": "A", "side": "BUY", "quantity": "1", "x": '
        + f"{opening * (depth - 1)}1{closing * (depth - 1)}}}".encode(),
    )


@pytest.mark.parametrize("most", [1, 2, 32, 100])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_payload_may_be_nested_to_the_limit_and_no_deeper(most: int, opening: str, closing: str) -> None:
    reader = decoder(max_depth=most)

    kept = reader.decode(delivery("5-1", nested(most, opening, closing)))
    refused = reader.decode(delivery("5-1", nested(most + 1, opening, closing)))

    assert isinstance(kept, Order)
    assert refused == Undecodable(DeadReason.UNDECODABLE, "the payload is nested too deeply")


def test_brackets_within_texts_are_not_nesting() -> None:
    reason = "[{" * 500 + '\\"[' + "\\" * 7 + '"' + "]" * 100
    content = json.dumps({"symbol": "A", "side": "BUY", "quantity": "1", "reason": reason}).encode()

    assert response((b"payload", content)) == "executed"


def test_many_brackets_side_by_side_are_not_nesting() -> None:
    content = b'{"symbol": "A", "side": "BUY", "quantity": "1", "x": [' + b"[{}]," * 1000 + b"[]]}"

    assert response((b"payload", content)) == "executed"


COSTLY = {
    "brackets never closed": b"[" * 4_000_000,
    "brackets never opened": b"]" * 4_000_000,
    "brackets in pairs": b"[]" * 2_000_000,
    "deep and closed": b"[" * 2_000_000 + b"]" * 2_000_000,
    "objects never closed": b'{"a":' * 800_000,
    "a text never closed, quotes escaped": b"[" * 40 + b'"' + b'\\"' * 2_000_000,
    "quotes alone": b"[" * 40 + b'"' * 4_000_000,
    "an exponent": b'{"symbol": "A", "side": "BUY", "quantity": 1e99999999999}',
    "a number of a million digits": b'{"symbol": "A", "side": "BUY", "quantity": ' + b"9" * 1_000_000 + b"}",
}


@pytest.mark.parametrize("content", COSTLY.values(), ids=COSTLY.keys())
def test_hostile_payload_costs_next_to_nothing(content: bytes) -> None:
    reader = decoder(max_bytes=16_777_216)

    began = time.process_time()
    found = reader.decode(delivery("5-1", (b"payload", content)))
    took = time.process_time() - began

    assert isinstance(found, Undecodable | UnsoundOrder)
    assert took < 2


@pytest.mark.parametrize(
    ("quantity", "kept"),
    [("999.99", True), ("1000", False), ("1e2", True), ("1e3", False), ("0.999", False), ("1e-2", True),
     ("1e-3", False), ("000100.500", True), ("0.1e3", True)],
)  # fmt: skip
def test_fewer_digits_may_be_allowed(quantity: str, *, kept: bool) -> None:
    found = decoder(digits=Digits(3, 2)).decode(delivery("5-1", flat(quantity=quantity)))

    assert isinstance(found, Order) == kept
    if isinstance(found, Order):
        assert found.quantity == Decimal(quantity)
    else:
        assert isinstance(found, UnsoundOrder)
        assert found.why == "quantity has more than 3 integer or 2 fractional digits"
