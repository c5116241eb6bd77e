"""The traceparent of an entry: read by W3C's rules, in every result of its row, never a reason to refuse."""

import json

import pytest

from tests.builders import decoder, delivery, flat, pairs, record
from worker.client import Order as ClientOrder
from worker.client.testing import FakeWorker
from worker.domain.orders import Order, Undecodable, intended_order
from worker.domain.trace_context import is_sampled, parent_id_of, trace_id_of, traceparent_of
from worker.wire import Spelling, read_letter, replay_of, result_fields, traceparent_in

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
OTHER = f"00-{TRACE}-{SPAN[::-1]}-00"
MALFORMED = [
    "", "00", TRACEPARENT[:-1], f"{TRACEPARENT}-", f"{TRACEPARENT}0", TRACEPARENT.upper(), f" {TRACEPARENT}",
    f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"0-{TRACE}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}-0x", TRACEPARENT.replace("-", "_"), f"{TRACEPARENT}\n", "\u0660" + TRACEPARENT[1:],
]  # fmt: skip


def order_in(fields: tuple[bytes, ...]) -> Order:
    reader = decoder()
    found = reader.decode(delivery("5-1", fields))
    assert isinstance(found, Order)
    assert reader.careful.read(delivery("5-1", fields)) == found
    return found


def payload(**more: object) -> tuple[bytes, ...]:
    content = {"order_id": "a", "symbol": "A", "side": "BUY", "quantity": "1", **more}
    return (b"payload", json.dumps(content).encode())


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_traceparent_is_none(text: str) -> None:
    assert traceparent_of(text) is None


@pytest.mark.parametrize("later", [f"cc-{TRACE}-{SPAN}-01", f"01-{TRACE}-{SPAN}-01-what.comes-later"])
def test_traceparent_of_a_later_version_is_read_as_the_one_known_here(later: str) -> None:
    assert traceparent_of(later) == TRACEPARENT


def test_parts_of_a_traceparent_are_found() -> None:
    assert (trace_id_of(TRACEPARENT), parent_id_of(TRACEPARENT)) == (TRACE, SPAN)
    assert is_sampled(TRACEPARENT)
    assert is_sampled(f"00-{TRACE}-{SPAN}-03")
    assert not is_sampled(OTHER)
    assert not is_sampled(f"00-{TRACE}-{SPAN}-02")


def test_order_has_the_traceparent_of_its_entry_in_either_form() -> None:
    assert order_in(flat(order_id="a", traceparent=TRACEPARENT)).traceparent == TRACEPARENT
    assert order_in((*payload(), b"traceparent", TRACEPARENT.encode())).traceparent == TRACEPARENT
    assert order_in(payload(traceparent=TRACEPARENT)).traceparent == TRACEPARENT
    assert order_in(flat(order_id="a")).traceparent is None


def test_traceparent_beside_a_payload_goes_before_the_one_inside() -> None:
    fields = (*payload(traceparent=OTHER), b"traceparent", TRACEPARENT.encode())

    assert order_in(fields).traceparent == TRACEPARENT


@pytest.mark.parametrize("value", [b"nonsense", b"", b"\xff\xfe", b"\0", b"x" * 5000])
@pytest.mark.parametrize("form", [flat(order_id="a"), payload()])
def test_order_is_not_refused_for_a_malformed_traceparent_but_counted(
    form: tuple[bytes, ...], value: bytes
) -> None:
    reader = decoder()

    found = reader.decode(delivery("5-1", (*form, b"traceparent", value)))

    assert isinstance(found, Order)
    assert found.traceparent is None
    assert (reader.malformed_traceparents, reader.unknown_fields) == (1, 0)


@pytest.mark.parametrize("value", [7, ["x"], {"a": "\ud800"}, True, "\ud800", "\0"])
def test_traceparent_in_a_payload_that_is_no_text_is_ignored_and_counted(value: object) -> None:
    reader = decoder()

    found = reader.decode(delivery("5-1", payload(traceparent=value)))

    assert isinstance(found, Order)
    assert (found.traceparent, reader.malformed_traceparents) == (None, 1)


def test_sound_traceparent_and_none_are_not_counted() -> None:
    reader = decoder()

    for each in (flat(order_id="a", traceparent=TRACEPARENT), flat(order_id="a"), payload(traceparent=None)):
        reader.decode(delivery("5-1", each))

    assert reader.malformed_traceparents == 0


def test_entry_of_a_traceparent_alone_is_no_order() -> None:
    found = decoder().decode(delivery("5-1", (b"traceparent", TRACEPARENT.encode())))

    assert isinstance(found, Undecodable)


@pytest.mark.parametrize("form", [flat(order_id="a"), payload()])
def test_fingerprint_does_not_depend_on_the_traceparent(form: tuple[bytes, ...]) -> None:
    found = {
        order_in((*form, *more)).fingerprint
        for more in ((), (b"traceparent", TRACEPARENT.encode()), (b"traceparent", OTHER.encode()))
    }

    assert len(found) == 1


def test_result_says_the_traceparent_of_its_row() -> None:
    traced = record("a", traceparent=TRACEPARENT)

    assert pairs(result_fields(traced)) == pairs(result_fields(record("a"))) | {"traceparent": TRACEPARENT}


def test_order_that_is_taken_up_from_its_row_has_its_traceparent() -> None:
    assert intended_order(record("a", traceparent=TRACEPARENT)).traceparent == TRACEPARENT


def test_result_by_a_replica_that_knows_no_traces_does_not_differ_from_its_row() -> None:
    spelling, traced = Spelling("orders"), record("a", traceparent=TRACEPARENT)
    bare, other = (
        [part.encode() for part in result_fields(record("a", traceparent=each))] for each in (None, OTHER)
    )

    assert spelling.differences(bare, traced) == []
    assert spelling.differences(other, traced) == ["traceparent"]
    assert spelling.differences(other, record("a")) == ["traceparent"]


@pytest.mark.parametrize(
    "fields",
    [
        flat(order_id="a", traceparent=TRACEPARENT),
        payload(traceparent=TRACEPARENT),
        (*payload(), b"traceparent", TRACEPARENT.encode()),
    ],
)
def test_replay_keeps_the_traceparent_of_its_letter_unless_it_is_edited(fields: tuple[bytes, ...]) -> None:
    originals = [
        part
        for name, value in zip(fields[::2], fields[1::2], strict=True)
        for part in (b"orig:" + name, value)
    ]
    letter = read_letter([b"entry_id", b"5-1", b"reason", b"failed", b"order_id", b"a", *originals])

    kept, edited = (replay_of(letter, edits, decoder()) for edits in ({}, {"traceparent": OTHER}))

    assert order_in(kept.fields).traceparent == TRACEPARENT
    assert order_in(edited.fields).traceparent == OTHER


@pytest.mark.parametrize("around", [b'{"traceparent": "%s"}', b'{broken, "traceparent" :\n"%s"'])
def test_trace_of_what_is_no_order_is_found_for_whoever_tells_of_it(around: bytes) -> None:
    found = around.replace(b"%s", TRACEPARENT.encode())

    assert traceparent_in((b"payload", found)) == TRACEPARENT
    assert traceparent_in((b"payload", found, b"traceparent", OTHER.encode())) == OTHER
    assert traceparent_in((b"payload", found, b"traceparent", b"\xff")) is None
    assert traceparent_in((b"data", b"{}")) is None
    assert traceparent_in(()) is None


def test_client_takes_a_traceparent_and_reads_it_in_the_result() -> None:
    worker = FakeWorker()
    order = ClientOrder("A", "BUY", 1, traceparent=TRACEPARENT)

    added = worker.producer().add(order)

    assert worker.results().of(added, timeout_s=1).traceparent == TRACEPARENT


@pytest.mark.parametrize("text", [*MALFORMED, f"01-{TRACE}-{SPAN}-01"])
def test_client_refuses_a_traceparent_that_would_be_ignored(text: str) -> None:
    with pytest.raises(ValueError, match="traceparent"):
        ClientOrder("A", "BUY", 1, traceparent=text)
