"""The page of the wire format and the JSON Schemas say what the decoder does, and what results hold."""

import json
import re
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests import wire_format
from tests.builders import decoder, pairs
from tests.faults.fuzz.seeds import drawn
from tests.faults.fuzz.test_results import row
from tests.strategies import texts
from tests.wire_format import AGAIN, EARNED_BY, RULES, SOUND, Entry, answer, flat, payload
from worker.domain.deliveries import Delivery
from worker.domain.orders import DeadReason, Order
from worker.wire import result_fields
from worker.wire.names import ORDER_FIELDS

ALLOWED = jsonschema_rs.Draft202012Validator(wire_format.order_schema())
RESULT = jsonschema_rs.Draft202012Validator(wire_format.order_result_schema())
ENTRIES = [entry for rule in RULES for entry in rule.entries if entry.document is not None]


def executed(fields: tuple[bytes, ...]) -> bool:
    return isinstance(decoder().decode(Delivery("1-1", fields, 1, True)), Order)


@pytest.mark.parametrize("path", wire_format.written(), ids=lambda path: path.name)
def test_what_is_made_of_the_wire_format_is_what_the_code_says(path: Any) -> None:
    assert path.read_text(encoding="utf-8") == wire_format.written()[path], "run: python -m tests.wire_format"


def test_page_has_each_reason_of_a_dead_letter_and_each_field() -> None:
    text = wire_format.page()

    assert set(EARNED_BY) == set(DeadReason)
    assert {name for name in ORDER_FIELDS if f"`{name}" not in text} == set()
    assert all(f"dead letter, `{reason}`" in text for reason in ("undecodable", "ambiguous", "too_large"))


def test_order_that_comes_again_is_told_from_another_of_its_id() -> None:
    same = [wire_format.fingerprint(said) == wire_format.fingerprint(SOUND) for _, said in AGAIN]

    assert same == [True, True, True, True, False, False, False]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.shown[:40])
def test_schema_allows_of_the_entries_of_the_page_what_is_executed(entry: Entry) -> None:
    allowed = ALLOWED.is_valid(entry.document)

    assert allowed == (answer(entry.fields).startswith("executed") and entry.plain)


PROPERTIES = wire_format.order_schema()["properties"]
ANYTHING = (
    texts | st.from_regex(r"[0-9]{0,22}(\.[0-9]{0,32})?", fullmatch=True) | st.integers(-1, 101) | st.none()
)


def as_allowed(name: str) -> st.SearchStrategy[Any]:
    """Draw what the schema says of a field, one way or another, and now and then anything."""
    says = PROPERTIES[name]
    drawn_from = [st.none() if each is None else st.just(each) for each in says.get("enum", [])]
    kinds = says.get("type", [])
    if "string" in kinds:
        drawn_from += [st.from_regex(says["pattern"], fullmatch=True)] * 3
    if "integer" in kinds:
        drawn_from.append(st.integers(0, 10**20 if "maximum" not in says else 100))
    if "null" in kinds:
        drawn_from.append(st.none())
    return st.integers(0, 59).flatmap(lambda odd: ANYTHING if odd == 0 else st.one_of(drawn_from))


REQUIRED = ("symbol", "side", "quantity")
DOCUMENTS = st.fixed_dictionaries(
    {name: as_allowed(name) for name in REQUIRED},
    optional={name: as_allowed(name) for name in sorted(ORDER_FIELDS - {*REQUIRED})},
)


def test_order_that_the_schema_allows_is_executed() -> None:
    allowed = 0

    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
    @given(DOCUMENTS)
    @example({**SOUND, "quantity": "9" * 20 + "." + "9" * 30, "stop_loss_pct": "99." + "9" * 30})
    def try_one(document: dict[str, Any]) -> None:
        nonlocal allowed
        try:
            valid = ALLOWED.is_valid(document)
        except ValueError:
            # Half a surrogate pair, which no JSON in UTF-8 holds.
            return
        if valid:
            allowed += 1
            assert executed((b"payload", json.dumps(document).encode()))
            if all(isinstance(value, str) for value in document.values()):
                assert executed(tuple(part.encode() for pair in document.items() for part in pair))

    try_one()

    assert allowed > 30


@pytest.mark.parametrize("reserved", ["payload", "data", "replay_of"])
def test_schema_refuses_fields_that_no_producer_may_send_in_an_order(reserved: str) -> None:
    assert not ALLOWED.is_valid({**SOUND, reserved: "x"})


def test_every_result_is_what_the_schema_says() -> None:
    for number in range(300):
        said = pairs(result_fields(row(drawn("row", number))))

        assert RESULT.is_valid(said), said
        assert said.keys() <= wire_format.full_result().keys()


def test_command_of_the_page_adds_the_order_that_its_rules_start_from() -> None:
    (line,) = re.findall(r"^\$ redis-cli XADD orders '\*' (.+)$", wire_format.page(), re.MULTILINE)

    assert tuple(line.encode().split()) == wire_format.SOUND_FIELDS


def test_helpers_show_what_they_edit() -> None:
    assert flat(side="HOLD").shown == "`side=HOLD`"
    assert payload(side=None).shown == 'payload `{"side": null}`'
