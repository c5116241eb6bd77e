"""What people are not shown of an entry: by name, in JSON, in what quotes it."""

import json
import re
from decimal import Decimal
from unittest import mock

import pytest

from tests.builders import flat, order
from worker import wire
from worker.domain.orders import Labels
from worker.domain.texts import HIDDEN
from worker.wire.hiding import UNREADABLE

SECRET = "ann@example.org"
hiding = wire.Hiding(["email", "client_id"])


@pytest.mark.parametrize("name", ["email", "Email", "EMAIL"])
def test_value_of_a_hidden_field_is_hidden_whatever_the_case_of_its_name(name: str) -> None:
    assert hiding.value(name, SECRET.encode()) == HIDDEN


def test_nothing_is_hidden_where_no_name_is_set() -> None:
    raw = b'{"email": 1, \xff'

    assert wire.NOTHING_HIDDEN.value("payload", raw) == wire.shown(raw)
    assert wire.NOTHING_HIDDEN.told(SECRET, flat(email=SECRET)) == SECRET
    assert wire.NOTHING_HIDDEN.head(raw) == wire.shown(raw)


@pytest.mark.parametrize("name", ["payload", "data", "extra"])
def test_hidden_key_is_hidden_at_any_depth_and_the_rest_of_the_payload_is_shown(name: str) -> None:
    raw = json.dumps({"symbol": "A", "who": [{"Email": [SECRET]}], "note": json.dumps({"email": SECRET})})

    shown = hiding.value(name, raw.encode())

    assert SECRET not in shown
    found = json.loads(shown)
    assert (found["symbol"], found["who"]) == ("A", [{"Email": HIDDEN}])
    assert json.loads(found["note"]) == {"email": HIDDEN}


def test_payload_without_a_hidden_key_keeps_its_bytes_and_one_with_its_numbers() -> None:
    plain = b'{ "quantity":0.30,"price" : 1e-7}'

    assert hiding.value("payload", plain) == plain.decode()
    shown = hiding.value("payload", b'{"quantity":0.30,"price":1e-7,"email":1}')
    assert shown == f'{{"quantity": 0.30, "price": 1e-7, "email": "{HIDDEN}"}}'


@pytest.mark.parametrize(
    "raw",
    [
        b'{"email": "ann@example.org"',
        b'{"e\\u006dail": "ann@example.org"',
        b'{"email": "ann@example.org", "email": 1}',
        b"email=ann@example.org",
        b'{"x": "\xff", "a": "ann@example.org"}',
        '{"email": "ann@example.org"}'.encode("utf-16"),
        b'[{"email": "ann@example.org"}, ' + b"[" * 50_000,
    ],
    ids=["cut off", "escaped", "twice", "no JSON", "no UTF-8", "UTF-16", "deep"],
)
def test_payload_that_can_not_be_looked_through_is_hidden_as_a_whole(raw: bytes) -> None:
    assert hiding.value("payload", raw) == UNREADABLE


def test_broken_payload_in_which_no_hidden_name_stands_is_shown() -> None:
    assert hiding.value("payload", b'{"symbol": ') == '{"symbol": '


def test_first_bytes_of_a_large_entry_are_hidden_since_fields_run_together_there() -> None:
    assert hiding.head(b"emailann@example.org") == UNREADABLE


@pytest.mark.parametrize(
    "fields",
    [
        (b"email", SECRET.encode()),
        (b"payload", json.dumps({"a": {"email": SECRET}}).encode()),
        (b"payload", json.dumps({"email": {"of": [SECRET]}}).encode()),
        (b"payload", json.dumps(json.dumps({"email": SECRET})).encode()),
    ],
)
def test_error_that_quotes_a_hidden_value_is_told_without_it(fields: tuple[bytes, ...]) -> None:
    told = hiding.told(f"ValueError: no account {SECRET}, sorry", fields)

    assert told == f"ValueError: no account {HIDDEN}, sorry"


def test_value_that_an_error_quotes_in_part_since_it_was_cut_is_not_told_either() -> None:
    assert hiding.told("no account ann@exam", flat(email=SECRET)) == f"no account {HIDDEN}"


def test_short_value_is_taken_for_itself_as_a_word_alone() -> None:
    told = hiding.told("client 7 has 17 orders", flat(client_id="7"))

    assert told == f"client {HIDDEN} has 17 orders"


def test_values_of_an_order_are_known_in_each_spelling_of_an_amount() -> None:
    made = order(quantity=Decimal("1E+4"), labels=Labels(client_id="c-77"))

    told = wire.Hiding(["quantity", "client_id"]).told("10000 or 1E+4 for c-77", (), made)

    assert told == f"{HIDDEN} or {HIDDEN} for {HIDDEN}"


def test_message_of_a_channel_is_shown_from_its_beginning_without_hidden_values() -> None:
    raw = json.dumps({"email": SECRET, "pad": "x" * 5000}).encode()

    shown = hiding.message(raw, 100)

    assert SECRET not in shown
    assert len(shown) == 100


def test_payload_that_is_nested_as_deep_as_it_may_be_read_is_hidden_and_fails_nobody() -> None:
    nested = "[" * 600 + "]" * 600

    shown = wire.Hiding(["email"]).value("payload", nested)

    assert shown in {nested, UNREADABLE}


def test_many_short_values_cost_no_more_than_those_that_are_quoted() -> None:
    """Proves that no expression is made for a value that stands nowhere."""
    many = [
        f"{a}{b}{c}" for a in "abcdefghijklmnopqrst" for b in "abcdefghijklmnopqrst" for c in "0123456789"
    ]
    fields = (b"payload", json.dumps({"email": many}).encode())
    hiding = wire.Hiding(["email"])

    with mock.patch.object(re, "sub", side_effect=re.sub) as made:
        said = hiding.told("its error says ab1 and no more", fields)

    assert said == "its error says (hidden) and no more"
    assert made.call_count == 1
