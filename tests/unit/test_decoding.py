"""What an entry is understood as: sound orders in both wire forms, and who they are."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import decoder, delivery, flat
from tests.harness import SAMPLE_FILE
from worker.domain.decimals import STORED, Digits
from worker.domain.orders import Labels, Order, Side, Undecodable, UnsoundOrder
from worker.wire.layouts import LONGEST_REMEMBERED, REMEMBERED
from worker.wire.names import ORDER_FIELDS, PAYLOAD_FIELDS, REPLAY_OF

SAMPLES = SAMPLE_FILE.read_text(encoding="utf-8").splitlines()

BESIDE = ORDER_FIELDS | PAYLOAD_FIELDS | {REPLAY_OF}

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
orders = st.fixed_dictionaries(
    {"order_id": st.from_regex(r"[A-Za-z0-9._:/-]{1,30}", fullmatch=True)},
    optional={
        "symbol": texts | st.sampled_from(["BTCUSDT", "A/B"]),
        "side": st.sampled_from(["BUY", "sell", "Buy", "HOLD", ""]),
        "quantity": texts | st.decimals(allow_nan=False, allow_infinity=False, places=6).map(str),
        "price": texts | st.decimals(min_value=0, max_value=10**6, places=3).map(str),
        "stop_loss_pct": st.decimals(min_value=-5, max_value=105, places=2).map(str),
        **dict.fromkeys(Labels.__struct_fields__, texts),
    },
)


def raw(fields: dict[str, str]) -> tuple[bytes, ...]:
    return tuple(part.encode() for pair in fields.items() for part in pair)


def payload(fields: object, name: str = "payload") -> tuple[bytes, ...]:
    return (name.encode(), json.dumps(fields).encode())


def decode(fields: tuple[bytes, ...], *, entry_id: str = "5-1", order_id_field: str = "order_id") -> object:
    return decoder(order_id_field=order_id_field).decode(delivery(entry_id, fields))


def fingerprint(fields: tuple[bytes, ...]) -> bytes:
    order = decode(fields)
    assert isinstance(order, Order | UnsoundOrder)
    return order.fingerprint


@pytest.mark.parametrize("form", ["flat", "payload", "data"])
def test_sound_order_is_understood_in_every_wire_form(form: str) -> None:
    fields = {
        "type": "order",
        "order_id": "a-1",
        "symbol": "PEPE/USDT",
        "side": "Buy",
        "quantity": "34727465.10480124",
        "price": "7.198913e-06",
        "stop_loss_pct": "0.02",
        "signal_id": "s",
        "reason": "r",
        "timestamp": "2026-01-01T00:00:00Z",
        "strategy_id": "st",
        "bot_id": "b",
        "client_id": "c",
    }

    order = decode(raw(fields) if form == "flat" else payload(fields, form))

    assert isinstance(order, Order)
    assert (order.order_id, order.entry_id, order.symbol, order.side) == ("a-1", "5-1", "PEPE/USDT", Side.BUY)
    assert (order.quantity, order.price) == (Decimal("34727465.10480124"), Decimal("0.000007198913"))
    assert order.stop_loss_pct == Decimal("0.02")
    assert order.labels == Labels(
        signal_id="s",
        reason="r",
        timestamp="2026-01-01T00:00:00Z",
        strategy_id="st",
        bot_id="b",
        client_id="c",
    )


@pytest.mark.parametrize(
    "line", [pytest.param(line, id=str(n)) for n, line in enumerate(SAMPLES) if n % 50 == 0]
)
def test_sample_order_has_no_unknown_field(line: str) -> None:
    reader = decoder()

    reader.decode(delivery("5-1", raw(json.loads(line))))

    assert reader.unknown_fields == 0


def test_every_sample_order_is_sound_and_keeps_its_quantity_exactly() -> None:
    assert len(SAMPLES) == 500
    for line in SAMPLES:
        fields = json.loads(line)

        order = decode(raw(fields))

        assert isinstance(order, Order)
        assert order.quantity == Decimal(fields["quantity"])
        assert order.price == (Decimal(fields["price"]) if "price" in fields else None)


def test_numbers_of_a_payload_keep_every_digit() -> None:
    text = (
        b'{"symbol": "A", "side": "BUY", "quantity": 0.300000000000000040000000001,'
        b' "price": 12345678901234567890, "stop_loss_pct": 5e-05}'
    )

    order = decode((b"payload", text))

    assert isinstance(order, Order)
    assert (order.quantity, order.price) == (
        Decimal("0.300000000000000040000000001"),
        Decimal(12345678901234567890),
    )
    assert order.stop_loss_pct == Decimal("0.00005")


def test_numbers_among_the_texts_of_a_payload_become_plain_text_as_rows_want_it() -> None:
    content = (
        b'{"order_id": "o", "symbol": "A", "side": "BUY", "quantity": 1, '
        b'"timestamp": 1761178208.25, "signal_id": 7, "reason": 0, "replay_of": 5.1}'
    )

    found = decoder().decode(delivery("5-1", (b"payload", content)))

    assert isinstance(found, Order)
    texts = (found.labels.timestamp, found.labels.signal_id, found.labels.reason, found.replay_of)
    assert texts == ("1761178208.25", "7", "0", "5.1")
    assert {type(text) for text in texts} == {str}


def test_integer_order_id_of_a_payload_is_its_decimal_text() -> None:
    order = decode(
        (b"payload", b'{"symbol": "A", "side": "BUY", "quantity": 1, "order_id": 9007199254740993}')
    )

    assert isinstance(order, Order)
    assert order.order_id == "9007199254740993"


def test_null_in_a_payload_is_an_absent_field() -> None:
    with_null = payload({"symbol": "A", "side": "BUY", "quantity": "1", "price": None, "order_id": None})

    order = decode(with_null)

    assert isinstance(order, Order)
    assert (order.order_id, order.price) == ("orders:5-1", None)


def test_order_without_an_id_is_named_after_its_source_and_its_place_there() -> None:
    named = decoder(source="desk").decode(delivery("5-1", flat()))

    assert isinstance(named, Order)
    assert named.order_id == "desk:5-1"


def test_order_is_named_by_the_field_that_the_settings_choose() -> None:
    order = decode(flat(order_id="o", client_id="c"), order_id_field="client_id")

    assert isinstance(order, Order)
    assert order.order_id == "c"


def test_replayed_entry_names_its_order_whichever_field_producers_use() -> None:
    order = decode(flat(order_id="o", client_id="c", replay_of="1-1"), order_id_field="client_id")

    assert isinstance(order, Order)
    assert order.order_id == "o"


def test_order_id_may_stand_beside_a_payload() -> None:
    inside = {"symbol": "A", "side": "BUY", "quantity": "1"}

    order = decode((*payload(inside), b"order_id", b"o"))

    assert isinstance(order, Order)
    assert order.order_id == "o"


def test_unknown_fields_are_ignored_and_counted() -> None:
    reader = decoder()

    order = reader.decode(delivery("5-1", flat(order_id="a", colour="red", ÿ="x")))

    assert isinstance(order, Order)
    assert reader.unknown_fields == 2


@pytest.mark.parametrize("side", ["buy", "Buy", "BUY", "bUy"])
def test_side_may_have_any_case(side: str) -> None:
    order = decode(flat(side=side))

    assert isinstance(order, Order)
    assert order.side is Side.BUY


def test_labels_are_kept_exactly() -> None:
    kept = "emoji \N{ROCKET} \"quoted\" 'twice'\r\n\x1b[31m" + "x" * 4096

    order = decode(flat(reason=kept, client_id=kept))

    assert isinstance(order, Order)
    assert (order.labels.reason, order.labels.client_id) == (kept, kept)


@given(fields=orders)
def test_flat_and_payload_forms_of_an_order_have_the_same_fingerprint(fields: dict[str, str]) -> None:
    assert fingerprint(raw(fields)) == fingerprint(payload(fields)) == fingerprint(payload(fields, "data"))


@given(fields=orders, stamp=texts, unknown=texts)
def test_retry_with_another_stamp_has_the_same_fingerprint(
    fields: dict[str, str], stamp: str, unknown: str
) -> None:
    retried = {**fields, "timestamp": stamp, "signal_id": stamp, "reason": stamp, "unheard_of": unknown}

    assert fingerprint(raw(retried)) == fingerprint(raw(fields))


@pytest.mark.parametrize(
    "change",
    [
        {"symbol": "ETHUSDT"},
        {"side": "SELL"},
        {"quantity": "0.50000000000000000000000000001"},
        {"price": "100.1"},
        {"price": ""},
        {"stop_loss_pct": "0"},
        {"strategy_id": "s"},
        {"bot_id": "s"},
        {"client_id": "s"},
        {"quantity": "junk"},
    ],
)
def test_other_content_has_another_fingerprint(change: dict[str, str]) -> None:
    assert fingerprint(flat(order_id="a", **change)) != fingerprint(flat(order_id="a"))


AMOUNTS = (
    "0", "0.5", "0.0", "1", "007", "10.25", "1.50", "1.", ".5", "-1", "+1", "1e2", " 1", "",
    "\N{ARABIC-INDIC DIGIT ONE}", "99.9", "100", "100.5", "101", "110", "115", "07", "9" * 20, "9" * 21,
    f"0.{'0' * 29}1", f"0.{'0' * 30}1", f"{'9' * 20}.{'0' * 29}1",
)  # fmt: skip
CHANGES = [
    *((name, value) for name in ("quantity", "price", "stop_loss_pct") for value in AMOUNTS),
    *(("symbol", value) for value in ("A/B", "x" * 32, "x" * 33, "", " A", "é", "A\n")),
    *(("type", value) for value in ("order", "cancel", "")),
    *(("strategy_id", value) for value in ("", "é", "=", "-", "\n")),
]


@pytest.mark.parametrize("side", ["BUY", "buy", "\N{LATIN SMALL LETTER LONG S}ell", ""])
@pytest.mark.parametrize(("name", "value"), CHANGES)
def test_flat_order_is_read_the_fast_way_as_the_careful_way_and_as_a_payload(
    name: str, value: str, side: str
) -> None:
    order = {"order_id": "a-1", "symbol": "BTCUSDT", "side": side, "quantity": "1.5", name: value}

    found = decode(raw(order))

    assert found == decoder().careful.read(delivery("5-1", raw(order)))
    assert found == decode(payload(order))


@given(
    order=orders,
    others=st.dictionaries(texts.filter(lambda name: name not in BESIDE), texts, max_size=2),
    replayed=st.sampled_from([{}, {"type": "order"}, {REPLAY_OF: "1-1"}, {"type": "cancel"}]),
    order_id_field=st.sampled_from(["order_id", "client_id", "payload"]),
    digits=st.sampled_from([STORED, Digits(3, 1), Digits(2, 8), Digits(20, 0)]),
)
def test_any_flat_order_is_read_the_fast_way_as_the_careful_way_or_left_to_it(
    order: dict[str, str],
    others: dict[str, str],
    replayed: dict[str, str],
    order_id_field: str,
    digits: Digits,
) -> None:
    reader = decoder(order_id_field=order_id_field, digits=digits)
    entry = delivery("5-1", raw({**others, **order, **replayed}))

    fast, careful = reader.flat.read(entry), reader.careful.read(entry)

    if fast is not None:
        assert fast == careful
        assert reader.flat.unknown_fields == reader.careful.unknown_fields


@given(order=orders, others=st.dictionaries(texts.filter(lambda name: name not in BESIDE), texts, max_size=2))
def test_any_flat_order_reads_like_its_payload(order: dict[str, str], others: dict[str, str]) -> None:
    flat_reader, payload_reader = decoder(), decoder()

    found = flat_reader.decode(delivery("5-1", raw({**others, **order})))

    assert found == payload_reader.decode(delivery("5-1", payload({**others, **order})))
    assert flat_reader.unknown_fields == payload_reader.unknown_fields


@pytest.mark.parametrize("unknown", [{}, {"exchange": "x"}])
def test_every_sample_order_is_read_the_fast_way(unknown: dict[str, str]) -> None:
    reader = decoder()

    for line in SAMPLES:
        assert reader.flat.read(delivery("5-1", raw(json.loads(line) | unknown))) is not None

    assert reader.unknown_fields == len(SAMPLES) * len(unknown)


def test_names_are_remembered_where_they_are_few_and_short() -> None:
    reader = decoder()
    orders_of_names = [flat(order_id="a", **{f"f{number}": "x"}) for number in range(REMEMBERED + 50)]
    long = (*flat(order_id="a"), b"x" * LONGEST_REMEMBERED, b"")

    for entry in (long, *orders_of_names):
        assert reader.decode(delivery("5-1", entry)) == reader.decode(delivery("5-1", flat(order_id="a")))

    assert reader.unknown_fields == len(orders_of_names) + 1
    assert len(reader.flat._layouts._seen) == REMEMBERED  # noqa: SLF001  what it holds is the promise
    assert long[::2] not in reader.flat._layouts._seen  # noqa: SLF001


def test_names_of_what_is_no_order_are_not_remembered() -> None:
    reader = decoder()

    for number in range(REMEMBERED):
        assert isinstance(reader.decode(delivery("5-1", (b"f%d" % number, b"x"))), Undecodable)

    assert reader.flat._layouts._seen == {}  # noqa: SLF001  what it holds is the promise


@pytest.mark.parametrize("field", ["data", "payload"])
def test_field_that_carries_payloads_elsewhere_can_be_the_one_that_names_orders(field: str) -> None:
    found = [decode(flat(**{field: "a-1", "quantity": text}), order_id_field=field) for text in ("1", "0")]

    assert [each.order_id for each in found if isinstance(each, Order | UnsoundOrder)] == ["a-1", "a-1"]


def test_same_text_in_different_fields_has_different_fingerprints() -> None:
    prints = {fingerprint(flat(**{name: "x"})) for name in ("strategy_id", "bot_id", "client_id")}

    assert len(prints) == 3


def test_equal_numbers_in_other_spellings_have_the_same_fingerprint() -> None:
    one = flat(quantity="1", price="100", stop_loss_pct="0", side="BUY")
    same = flat(stop_loss_pct="-0.0", side="buy", price="1e2", quantity="1.000")

    assert fingerprint(one) == fingerprint(same)


@given(
    fields=st.lists(
        st.binary(max_size=40) | st.sampled_from([b"payload", b"symbol", b"order_id", b"quantity"]),
        max_size=20,
    )
)
def test_arbitrary_bytes_never_raise(fields: list[bytes]) -> None:
    even = tuple(fields[: len(fields) // 2 * 2])

    assert isinstance(decode(even), Order | UnsoundOrder | Undecodable)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(
    content=st.dictionaries(
        st.sampled_from(["symbol", "side", "quantity", "price", "order_id", "type", "reason", "junk"]),
        json_values,
    )
)
def test_arbitrary_json_never_raises(content: dict[str, object]) -> None:
    assert isinstance(decode(payload(content)), Order | UnsoundOrder | Undecodable)
