"""What an entry is not understood as: dead letters with their reasons, and orders that break a rule."""

import json

import pytest

from tests.builders import decoder, delivery, flat
from worker.domain.orders import Undecodable, UnsoundOrder

DEEP = 100_000


def decode(fields: tuple[bytes, ...], **limits: int) -> object:
    return decoder(**limits).decode(delivery("5-1", fields))  # type: ignore[arg-type]


def sound(**more: object) -> dict[str, object]:
    return {"symbol": "A", "side": "BUY", "quantity": "1", **more}


def payload(**more: object) -> tuple[bytes, ...]:
    return (b"payload", json.dumps(sound(**more)).encode())


NO_ORDERS = {
    "no known field": (b"colour", b"red"),
    "nothing but a type": (b"type", b"order"),
    "nothing but a replay mark": (b"replay_of", b"1-1"),
    "another type": flat(type="trade"),
    "an empty type": (*flat(type=""), b"type", b""),
    "another type in a payload": payload(type="trade"),
    "a type that is no text": payload(type=True),
    "not JSON": (b"payload", b"{'symbol': 'A'}"),
    "empty JSON": (b"payload", b""),
    "null": (b"payload", b"null"),
    "a list": (b"payload", b"[1]"),
    "a text": (b"payload", b'"order"'),
    "a number": (b"payload", b"12"),
    "an empty object": (b"payload", b"{}"),
    "an object of unknown keys": (b"payload", b'{"colour": "red"}'),
    "truncated": (b"payload", b'{"symbol": "A", "si'),
    "two objects": (b"payload", b"{} {}"),
    "NaN": (b"payload", b'{"symbol": "A", "quantity": NaN}'),
    "Infinity": (b"payload", b'{"symbol": "A", "quantity": -Infinity}'),
    "a key twice": (b"payload", b'{"symbol": "A", "symbol": "A"}'),
    "an unknown key twice, deep inside": (b"payload", b'{"symbol": "A", "x": [{"y": 1, "y": 1}]}'),
    "not UTF-8": (b"payload", b'{"symbol": "\xff"}'),
    "a byte order mark": (b"payload", b'\xef\xbb\xbf{"symbol": "A"}'),
    "half a surrogate pair": (b"payload", b'{"symbol": "A", "reason": "\\ud800"}'),
    "an escaped NUL": (b"payload", b'{"symbol": "A", "reason": "\\u0000"}'),
    "a symbol that is a number": payload(symbol=1),
    "a symbol that is a fraction": payload(symbol=1.5),
    "a symbol that is a list": payload(symbol=["A"]),
    "a symbol that is true": payload(symbol=True),
    "a side that is a number": payload(side=1),
    "a side that is an object": payload(side={"BUY": 1}),
    "a flat field that is not UTF-8": flat(reason=b"\xc3\x28"),
    "a flat field with a NUL": flat(client_id="a\0b"),
}


@pytest.mark.parametrize("fields", NO_ORDERS.values(), ids=NO_ORDERS.keys())
def test_entry_that_is_no_order_is_undecodable(fields: tuple[bytes, ...]) -> None:
    found = decode(fields)

    assert isinstance(found, Undecodable)
    assert found.reason == "undecodable"


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [900, 990, 1000, 5000, DEEP])
def test_depth_of_a_payload_never_raises(opening: str, depth: int) -> None:
    closing = "]" if opening == "[" else "}"
    text = '{"symbol": "A", "quantity": ' + opening * depth + "1" + closing * depth + "}"

    found = decode((b"payload", text.encode()), max_bytes=10 * len(text))

    assert isinstance(found, Undecodable | UnsoundOrder)
    assert isinstance(found, Undecodable) or depth < DEEP


@pytest.mark.parametrize("kind", ["limit", "market", "LIMIT", "trade"])
def test_error_of_another_type_says_which_types_are_read_and_what_a_limit_is(kind: str) -> None:
    found = decode(flat(type=kind))

    assert isinstance(found, Undecodable)
    assert found.error.startswith("its type is not order: orders are sent with type=order or without a type")
    assert found.error.endswith("a limit is the order's price, a market order has none")
    assert kind == "trade" or kind.lower() in found.error


@pytest.mark.parametrize("name", ["symbol", "side"])
def test_error_of_a_number_where_text_belongs_names_the_field(name: str) -> None:
    found = decode(payload(order_id="a", **{name: 1}))

    assert isinstance(found, Undecodable)
    assert (found.order_id, found.error) == ("a", f"{name} is not text: JSON has it in quotes")


AMBIGUOUS = {
    "a field twice": (*flat(), b"symbol", b"BTCUSDT"),
    "an unknown field twice": (*flat(), b"x", b"1", b"x", b"1"),
    "payload twice": (*payload(), *payload()),
    "payload and data": (*payload(), b"data", b"{}"),
    "a flat field beside a payload": (*payload(), b"symbol", b"A"),
    "a whole flat order beside a payload": (*payload(), *flat(order_id="a")),
    "a type beside a payload": (*payload(), b"type", b"order"),
    "another order id beside a payload": (*payload(order_id="a"), b"order_id", b"b"),
}


@pytest.mark.parametrize("fields", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_entry_that_can_be_read_in_two_ways_is_ambiguous(fields: tuple[bytes, ...]) -> None:
    found = decode(fields)

    assert isinstance(found, Undecodable)
    assert found.reason == "ambiguous"


def test_entry_of_too_many_bytes_is_too_large() -> None:
    fields = flat(order_id="a", reason="x" * 1000)
    size = sum(map(len, fields))

    assert isinstance(found := decode(fields, max_bytes=size - 1), Undecodable)
    assert found.reason == "too_large"
    assert not isinstance(decode(fields, max_bytes=size), Undecodable)


def test_entry_of_too_many_fields_is_too_large() -> None:
    fields = flat(order_id="a", one="1", two="2")

    assert isinstance(found := decode(fields, max_fields=len(fields) // 2 - 1), Undecodable)
    assert found.reason == "too_large"
    assert not isinstance(decode(fields, max_fields=len(fields) // 2), Undecodable)


BAD_ORDER_IDS = ["", " ", "x" * 129, "a b", "a\nb", "a\n", "\x1b[31m", "é", "a;b", "{a}", "a\0"]


@pytest.mark.parametrize("order_id", BAD_ORDER_IDS)
def test_order_id_outside_its_charset_is_undecodable(order_id: str) -> None:
    found = decode((*flat(), b"order_id", order_id.encode()))

    assert isinstance(found, Undecodable)
    assert (found.reason, found.order_id) == ("undecodable", None)


@pytest.mark.parametrize("order_id", [*BAD_ORDER_IDS, True, ["a"], {"a": 1}])
def test_order_id_of_a_payload_outside_its_charset_is_undecodable(order_id: object) -> None:
    found = decode(payload(order_id=order_id))

    assert isinstance(found, Undecodable)
    assert found.reason == "undecodable"


@pytest.mark.parametrize("order_id", ["a", "x" * 128, "A.b_c:d/e-f", "0"])
def test_order_id_within_its_charset_is_kept(order_id: str) -> None:
    found = decode(flat(order_id=order_id, quantity="0"))

    assert isinstance(found, UnsoundOrder)
    assert found.order_id == order_id


QUANTITIES = [
    "0",
    "-1",
    "-0",
    "0.0",
    "NaN",
    "sNaN",
    "Infinity",
    "1e999",
    "1e999999",
    "1_000",
    " 1",
    "1 ",
    "1\n",
    "0x10",
    "1,5",
    "true",
    "\u0661",
    "9" * 21,
    "0." + "1" * 31,
]


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_unusable_quantity_is_rejected(quantity: str) -> None:
    found = decode(flat(order_id="a", quantity=quantity))

    assert isinstance(found, UnsoundOrder)
    assert found.quantity is None
    assert found.why.startswith("quantity ")
    assert (found.symbol, str(found.side)) == ("BTCUSDT", "BUY")


@pytest.mark.parametrize("quantity", ["", True, [1], {"a": 1}, "1_0", -1, 0, 1e300])
def test_unusable_quantity_of_a_payload_is_rejected(quantity: object) -> None:
    found = decode(payload(quantity=quantity))

    assert isinstance(found, UnsoundOrder)
    assert found.quantity is None
    assert found.why.startswith("quantity ")


@pytest.mark.parametrize("price", ["NaN", "-1", "0", "-0.0", "", "junk"])
def test_unusable_price_is_rejected(price: str) -> None:
    found = decode((*flat(price=""), b"price", price.encode()))

    assert isinstance(found, UnsoundOrder)
    assert found.price is None
    assert found.why.startswith("price ")


@pytest.mark.parametrize("percentage", ["-0.1", "100.0000000001", "101", "NaN", "1e3", "-1e-30"])
def test_stop_loss_outside_zero_to_a_hundred_is_rejected(percentage: str) -> None:
    found = decode(flat(stop_loss_pct=percentage))

    assert isinstance(found, UnsoundOrder)
    assert found.stop_loss_pct is None
    assert found.why.startswith("stop_loss_pct ")


@pytest.mark.parametrize("percentage", ["0", "-0", "100", "100.000", "1e2", "0.02"])
def test_stop_loss_within_zero_to_a_hundred_is_kept(percentage: str) -> None:
    found = decode(flat(stop_loss_pct=percentage))

    assert not isinstance(found, UnsoundOrder | Undecodable)


@pytest.mark.parametrize(
    "symbol",
    [
        "'; DROP TABLE orders;--",
        "%s{0}",
        "${jndi:x}",
        "A\r\nB",
        'A\n{"level": "error"}',
        "A" * 33,
        "A" * 200,
        "-A",
        "Ä",
        "A B",
        "A\n",
    ],
)
def test_junk_symbol_is_rejected_and_not_repeated_in_the_reason(symbol: str) -> None:
    found = decode(flat(order_id="a", symbol=symbol))

    assert isinstance(found, UnsoundOrder)
    assert found.symbol is None
    assert found.why == (
        "symbol is not 1 to 32 characters of A-Z a-z 0-9 . _ : / - with a letter or figure first"
    )


@pytest.mark.parametrize("side", ["HOLD", "B", "BUY ", "\N{LATIN SMALL LETTER LONG S}ell"])
def test_unknown_side_is_rejected(side: str) -> None:
    found = decode(flat(side=side))

    assert isinstance(found, UnsoundOrder)
    assert found.side is None


@pytest.mark.parametrize("name", ["symbol", "side", "quantity"])
def test_missing_field_is_rejected(name: str) -> None:
    found = decode(flat(order_id="a", **{name: ""}))

    assert isinstance(found, UnsoundOrder)
    assert found.why == f"{name} is missing"


def test_every_fault_of_an_order_is_named() -> None:
    found = decode((b"order_id", b"a", b"price", b"0"))

    assert isinstance(found, UnsoundOrder)
    assert (
        found.why == "symbol is missing; side is missing; quantity is missing; "
        "price is not greater than zero; a market order has no price: leave it out"
    )


@pytest.mark.parametrize("form", ["flat", "payload"])
@pytest.mark.parametrize("value", ["", " ", "market", "null", "None", "nan", "0", "-1"])
def test_price_of_an_order_that_has_none_is_refused_with_what_to_do(form: str, value: str) -> None:
    sent = (*flat(price=""), b"price", value.encode()) if form == "flat" else payload(price=value)

    found = decode(sent)

    assert isinstance(found, UnsoundOrder)
    assert found.why.endswith("; a market order has no price: leave it out")


@pytest.mark.parametrize("value", ["", "null", "None"])
def test_stop_loss_of_an_order_that_has_none_is_refused_with_what_to_do(value: str) -> None:
    found = decode((*flat(), b"stop_loss_pct", value.encode()))

    assert isinstance(found, UnsoundOrder)
    assert found.why == (
        "stop_loss_pct is not a decimal number; an order without a stop loss has none: leave it out"
    )


def test_price_that_can_not_be_kept_exactly_is_refused_without_advice_for_market_orders() -> None:
    found = decode(flat(price="1e999"))

    assert isinstance(found, UnsoundOrder)
    assert found.why == "price has more than 20 integer or 30 fractional digits"


@pytest.mark.parametrize("value", ["", "market", "0"])
def test_quantity_is_never_to_be_left_out(value: str) -> None:
    found = decode((*flat(quantity=""), b"quantity", value.encode()))

    assert isinstance(found, UnsoundOrder)
    assert "leave" not in found.why
