"""From a dead letter back to an entry: what is kept, what is edited, what is refused."""

import json
from decimal import Decimal

import pytest

from tests.builders import decoder, delivery, flat
from worker import wire
from worker.domain.deliveries import Delivery
from worker.domain.orders import Order
from worker.wire import NotReplayable

ORIGINAL = flat(order_id="o", strategy_id="s")


def letter(
    *fields: bytes, reason: str = "failed", order_id: str | None = "o", entry_id: str = "1-1"
) -> wire.Letter:
    notes = [b"entry_id", entry_id.encode(), b"reason", reason.encode()]
    if order_id is not None:
        notes += [b"order_id", order_id.encode()]
    pairs = zip(fields[::2], fields[1::2], strict=True)
    return wire.read_letter([*notes, *(part for name, value in pairs for part in (b"orig:" + name, value))])


def replayed(found: wire.Letter, order_id_field: str = "order_id", **edits: str) -> wire.Replay:
    return wire.replay_of(found, edits, decoder(order_id_field=order_id_field))


def decoded(made: wire.Replay, order_id_field: str = "order_id") -> Order:
    order = decoder(order_id_field=order_id_field).decode(Delivery("2-1", made.fields, 1, True))
    assert isinstance(order, Order)
    return order


def test_flat_entry_keeps_its_fields_in_place_and_names_what_it_replays() -> None:
    made = replayed(letter(*ORIGINAL))

    assert made.fields == (*ORIGINAL, b"replay_of", b"1-1")
    assert made.changed == {}
    assert (decoded(made).order_id, decoded(made).replay_of) == ("o", "1-1")


def test_repeats_and_bytes_are_kept() -> None:
    raw = (b"symbol", b"A", b"symbol", b"\xff\x00")

    made = replayed(letter(*raw, reason="ambiguous", order_id=None))

    assert made.fields == (*raw, b"replay_of", b"1-1")


def test_derived_order_id_is_kept() -> None:
    made = replayed(letter(*flat(), order_id="orders:1-1"))

    assert decoded(made).order_id == "orders:1-1"


def test_order_id_named_by_another_field_is_kept() -> None:
    raw = flat(client_id="c", order_id="x")

    made = replayed(letter(*raw, order_id="c"), order_id_field="client_id")

    assert decoded(made, "client_id").order_id == "c"
    assert made.fields == (*flat(client_id="c", order_id="c"), b"replay_of", b"1-1")


@pytest.mark.parametrize("field", ["data", "payload"])
@pytest.mark.parametrize("order_id", ["o-1", '{"x": 1}'], ids=["an id", "no id, and JSON"])
def test_field_that_names_orders_is_no_payload_to_edit(field: str, order_id: str) -> None:
    raw = flat(**{field: order_id})

    made = replayed(letter(*raw), order_id_field=field, quantity="2")

    assert (decoded(made, field).order_id, decoded(made, field).quantity) == ("o", Decimal(2))
    assert made.changed == {"quantity": ("0.5", "2")}


def test_order_id_of_a_mended_entry_is_what_it_says_itself() -> None:
    mended = json.dumps({"order_id": "inside", "symbol": "A", "side": "BUY", "quantity": "1"})

    made = replayed(letter(b"payload", b"{", reason="undecodable", order_id=None), payload=mended)

    assert decoded(made).order_id == "inside"
    assert made.changed == {"payload": ("{", mended)}


def test_payload_keeps_its_bytes() -> None:
    raw = b'{"order_id":"o", "symbol":"A","side":"BUY","quantity":1e-7}'

    made = replayed(letter(b"payload", raw))

    assert made.fields == (b"payload", raw, b"order_id", b"o", b"replay_of", b"1-1")
    assert decoded(made).order_id == "o"


def test_field_in_a_payload_is_edited_there_and_numbers_stay_exact() -> None:
    raw = b'{"order_id":"o","symbol":"A","side":"BUY","quantity":0,"price":0.30000000000000004}'

    made = replayed(letter(b"data", raw), quantity="1e-7")

    order = decoded(made)
    assert (str(order.quantity), str(order.price)) == ("1E-7", "0.30000000000000004")
    assert made.changed == {"quantity": ("0", "1e-7")}


def test_flat_field_is_edited_in_place_once() -> None:
    made = replayed(letter(b"symbol", b"A", b"side", b"BUY", b"symbol", b"B", b"quantity", b"1"), symbol="C")

    assert made.fields[:6] == (b"symbol", b"C", b"side", b"BUY", b"quantity", b"1")
    assert made.changed == {"symbol": ("A", "C")}


def test_replay_of_a_replay_names_the_later_one_once() -> None:
    made = replayed(letter(*ORIGINAL, b"replay_of", b"0-1"))

    assert made.fields == (*ORIGINAL, b"replay_of", b"1-1")


def test_conflict_is_replayed_under_another_order_id_only() -> None:
    found = letter(
        b"payload", b'{"order_id":"o","symbol":"A","side":"BUY","quantity":"1"}', reason="conflict"
    )

    for edits in ({}, {"order_id": "o"}, {"quantity": "2"}):
        with pytest.raises(NotReplayable, match="conflict"):
            replayed(found, **edits)
    made = replayed(found, order_id="new")

    assert decoded(made).order_id == "new"
    assert made.changed == {"order_id": ("o", "new")}


def test_letter_without_fields_is_refused_with_its_reason() -> None:
    large = wire.read_letter([b"entry_id", b"1-1", b"reason", b"too_large", b"sha256", b"00"])

    with pytest.raises(NotReplayable, match="too_large: its fields are gone"):
        replayed(large)
    with pytest.raises(NotReplayable, match="trimmed: its fields are gone"):
        replayed(letter(reason="trimmed"))


def test_entry_is_refused_when_nobody_knows_which_order_it_is() -> None:
    found = letter(*flat(client_id="not an id"), reason="undecodable", order_id=None)

    with pytest.raises(NotReplayable, match="order id"):
        replayed(found, order_id_field="client_id")


def test_entry_that_would_be_too_large_as_a_replay_is_refused() -> None:
    with pytest.raises(NotReplayable, match="too_large"):
        wire.replay_of(letter(*ORIGINAL), {}, decoder(max_fields=len(ORIGINAL) // 2))


@pytest.mark.parametrize("payload", [b"{", b"[1]", b'{"a": NaN}', b"\xff"])
def test_payload_that_is_no_object_is_edited_as_a_whole_only(payload: bytes) -> None:
    with pytest.raises(NotReplayable, match="as a whole"):
        replayed(letter(b"payload", payload, reason="undecodable"), quantity="1")


def test_replayed_payload_goes_by_the_order_id_beside_it() -> None:
    raw = (b"payload", b'{"order_id":"o","symbol":"A","side":"BUY","quantity":"1"}')

    order = decoder().decode(delivery(fields=(*raw, b"order_id", b"new", b"replay_of", b"1-1")))

    assert isinstance(order, Order)
    assert (order.order_id, order.replay_of) == ("new", "1-1")


def test_replay_has_the_fingerprint_of_what_it_replays() -> None:
    again, first = (
        decoder().decode(delivery(fields=fields)) for fields in ((*ORIGINAL, b"replay_of", b"0-1"), ORIGINAL)
    )

    assert isinstance(again, Order)
    assert isinstance(first, Order)
    assert again.fingerprint == first.fingerprint


def test_payload_with_a_key_twice_is_edited_only_as_a_whole() -> None:
    twice = letter(b"payload", b'{"symbol": "A", "side": "BUY", "quantity": "1", "quantity": "2"}')

    with pytest.raises(NotReplayable, match="a key stands in its payload twice"):
        replayed(twice, reason="x")


def test_payload_in_another_encoding_is_edited_only_as_a_whole() -> None:
    content = '{"symbol": "A", "side": "BUY", "quantity": "1"}'

    with pytest.raises(NotReplayable, match="not JSON"):
        replayed(letter(b"payload", content.encode("utf-16")), reason="x")


@pytest.mark.parametrize("edit", [{"reason": "\udcff"}, {"\udcff": "x"}, {"order_id": "\udcff"}])
def test_edit_that_is_not_unicode_is_refused(edit: dict[str, str]) -> None:
    with pytest.raises(NotReplayable, match="not Unicode"):
        replayed(letter(*ORIGINAL), **edit)


def test_order_id_is_not_edited_away() -> None:
    with pytest.raises(NotReplayable, match="edited so it is no order"):
        replayed(letter(*ORIGINAL), order_id="")
