"""Labels that are no text, names that are nearly ours: the order is executed, nothing is lost in silence."""

import json
from collections.abc import Mapping

import pytest

from tests.builders import decoder, delivery, flat
from worker.domain.orders import Labels, Order
from worker.wire.nearly import REMEMBERED

TELLING = ("strategy_id", "bot_id", "client_id")
NO_TEXT = [["a"], {"a": 1}, True, False, []]


def payload(**more: object) -> tuple[bytes, ...]:
    content = {"order_id": "a", "symbol": "A", "side": "BUY", "quantity": "1", **more}
    return (b"payload", json.dumps(content).encode())


def decode(fields: tuple[bytes, ...]) -> Order:
    found = decoder().decode(delivery("5-1", fields))
    assert isinstance(found, Order)
    return found


@pytest.mark.parametrize("value", NO_TEXT)
@pytest.mark.parametrize("name", Labels.__struct_fields__)
def test_label_that_is_no_text_is_dropped_and_counted(name: str, value: object) -> None:
    reader = decoder()

    order = reader.decode(delivery("5-1", payload(**{name: value})))

    assert isinstance(order, Order)
    assert getattr(order.labels, name) is None
    assert reader.dropped_labels == 1


def test_text_numbers_and_nothing_are_no_dropped_labels() -> None:
    reader = decoder()

    order = reader.decode(
        delivery("5-1", payload(reason="r", timestamp=1700000000.5, bot_id=7, client_id=None))
    )

    assert isinstance(order, Order)
    assert (order.labels.timestamp, order.labels.bot_id) == ("1700000000.5", "7")
    assert {type(label) for label in (order.labels.timestamp, order.labels.bot_id, order.order_id)} == {str}
    assert reader.dropped_labels == 0


@pytest.mark.parametrize("value", NO_TEXT)
@pytest.mark.parametrize("name", TELLING)
def test_dropped_label_tells_orders_apart_by_its_raw_text(name: str, value: object) -> None:
    dropped = decode(payload(**{name: value})).fingerprint

    assert dropped == decode(payload(**{name: value}, reason="again")).fingerprint
    assert dropped == decode(payload(**{name: json.dumps(value)})).fingerprint
    assert dropped != decode(payload()).fingerprint
    assert dropped != decode(payload(**{name: ["b"]})).fingerprint


@pytest.mark.parametrize("name", [name for name in Labels.__struct_fields__ if name not in TELLING])
def test_dropped_label_that_tells_nothing_is_not_in_the_fingerprint(name: str) -> None:
    assert decode(payload(**{name: ["a"]})).fingerprint == decode(payload()).fingerprint


@pytest.mark.parametrize("value", [7, 12345678901234567890])
def test_whole_number_is_an_order_id_and_text_like_any_other(value: int) -> None:
    order = decode(payload(order_id=value))

    assert (order.order_id, type(order.order_id)) == (str(value), str)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("orderId", "order_id"), ("id", "order_id"), ("clientOrderId", "order_id"), ("qty", "quantity"),
        ("amount", "quantity"), ("Quantity", "quantity"), ("ticker", "symbol"),
        ("stop-loss-pct", "stop_loss_pct"), ("clientID", "client_id"), ("orderType", "price"),
        ("order_type", "price"), ("ordType", "price"), ("quantities", "quantity"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["flat", "payload"])
def test_name_that_nearly_is_ours_is_warned_of_once_per_layout(name: str, meant: str, form: str) -> None:
    warned: list[Mapping[str, str]] = []
    reader = decoder(warn=warned.append)
    with_name = flat(**{name: "x"}) if form == "flat" else payload(**{name: "x"})
    without, other = (
        (flat(), flat(colour="x", **{name: "x"}))
        if form == "flat"
        else (payload(), payload(colour="x", **{name: "x"}))
    )

    for fields in (with_name, with_name, without, with_name):
        reader.decode(delivery("5-1", fields))
    once = list(warned)
    reader.decode(delivery("5-1", other))

    assert once == [{name: meant}]
    assert warned == [{name: meant}] * 2


def test_names_that_are_ours_or_nothing_like_it_are_not_warned_of() -> None:
    warned: list[Mapping[str, str]] = []
    reader = decoder(warn=warned.append)

    for fields in (
        flat(colour="x", **dict.fromkeys(Labels.__struct_fields__, "x")),
        payload(colour="x"),
        payload(),
        flat(),
    ):
        reader.decode(delivery("5-1", fields))

    assert warned == []


def test_field_that_names_an_order_is_the_one_to_be_told_of_and_no_near_name() -> None:
    warned: list[Mapping[str, str]] = []
    reader = decoder(order_id_field="clientOrderId", warn=warned.append)

    reader.decode(delivery("5-1", flat(clientOrderId="a")))
    reader.decode(delivery("5-1", flat(id="a")))

    assert warned == [{"id": "clientOrderId"}]


def test_layouts_without_end_are_warned_of_no_more_than_are_remembered() -> None:
    warned: list[Mapping[str, str]] = []
    reader = decoder(warn=warned.append)

    for number in range(REMEMBERED + 50):
        reader.decode(delivery("5-1", payload(qty="1", **{f"f{number}": "x"})))
    reader.decode(delivery("5-1", flat(qty="1", **{"x" * 2000: "x"})))

    assert warned == [{"qty": "quantity"}] * REMEMBERED
