"""What goes out: results from rows alone, letters with every byte kept, entries of submitted orders."""

import json
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import delivery, flat, pairs, record
from worker import wire
from worker.domain.deliveries import Delivery, Settlement
from worker.domain.orders import Labels, OrderRecord, Status

AT = datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC)


def renderer(*, copies: bool = False) -> wire.Renderer:
    return wire.Renderer(
        source="orders",
        consumer="c-1",
        version="1.2.3",
        copies=copies,
        max_bytes=4096,
        max_fields=16,
        clock=lambda: 1234.9,
    )


def letter(
    of: Delivery, *, reason: str = "undecodable", error: str = "why", order_id: str | None = None
) -> Settlement:
    return renderer().letter(of, reason=reason, error=error, order_id=order_id)


class SetBackAnHour(tzinfo):
    """A zone whose clocks are being set back: each time comes twice, first at +2, then at +1."""

    def utcoffset(self, at: datetime | None) -> timedelta:
        return timedelta(hours=2 - (at.fold if at else 0))

    def dst(self, at: datetime | None) -> timedelta:
        return self.utcoffset(at) - timedelta(hours=1)

    def tzname(self, at: datetime | None) -> str:
        return str(self.utcoffset(at))


def test_same_time_before_and_after_clocks_are_set_back_is_told_apart() -> None:
    zone = SetBackAnHour()
    times = [datetime(2026, 10, 25, 2, 30, tzinfo=zone, fold=fold) for fold in (0, 1)]

    shown = [pairs(wire.result_fields(record("a", executed_at=at)))["timestamp"] for at in times]

    assert int(shown[1]) - int(shown[0]) == 3600


def test_result_of_a_fill_names_everything_known() -> None:
    labels = Labels(strategy_id="s", bot_id="b", client_id="c", signal_id="not shown", reason="not shown")
    row = record("a", entry_id="5-1", executed_at=AT, labels=labels, average_price=Decimal("100.50"))

    fields = pairs(wire.result_fields(row))

    assert fields == {
        "type": "order_result",
        "order_id": "a",
        "entry_id": "5-1",
        "status": "FILLED",
        "filled_quantity": "0.5",
        "timestamp": str(int(AT.timestamp())),
        "symbol": "BTCUSDT",
        "side": "BUY",
        "quantity": "0.5",
        "price": "100.5",
        "trade_id": "trade-a",
        "strategy_id": "s",
        "bot_id": "b",
        "client_id": "c",
    }


def test_result_leaves_out_what_is_not_known() -> None:
    row = OrderRecord(
        order_id="a",
        entry_id="5-1",
        fingerprint=b"",
        status=Status.REJECTED,
        executed_at=AT,
        error_message="symbol is missing",
    )

    fields = pairs(wire.result_fields(row))

    assert set(fields) == {
        "type",
        "order_id",
        "entry_id",
        "status",
        "filled_quantity",
        "timestamp",
        "error_message",
    }
    assert (fields["status"], fields["filled_quantity"]) == ("REJECTED", "0")


def test_result_writes_decimals_plainly() -> None:
    row = record("a", quantity=Decimal("1E+3"), average_price=Decimal("0.000007198913000"))

    fields = pairs(wire.result_fields(row))

    assert (fields["quantity"], fields["price"]) == ("1000", "0.000007198913")


def test_result_is_copied_as_json_where_somebody_listens() -> None:
    row = record("a", labels=Labels(client_id="ü\N{ROCKET}\n"))

    settlement = renderer(copies=True).result(delivery(), row)

    assert json.loads(settlement.copy) == pairs(settlement.fields)


def test_result_has_no_copy_where_nobody_listens() -> None:
    settlement = renderer().result(delivery("7-1"), record("a"))

    assert settlement == Settlement("7-1", "publish", wire.result_fields(record("a")), "")


def test_letter_begins_with_what_is_known_about_the_entry() -> None:
    buried = letter(delivery("1700000000123-4", flat(), count=5), reason="failed", order_id="a")

    assert buried.action == "bury"
    assert buried.entry_id == "1700000000123-4"
    assert list(buried.fields[:18]) == [
        "entry_id", "1700000000123-4",
        "reason", "failed",
        "order_id", "a",
        "error", "why",
        "deliveries", "5",
        "first_seen", "1700000000",
        "last_seen", "1234",
        "consumer", "c-1",
        "worker_version", "1.2.3",
    ]  # fmt: skip


def test_letter_of_an_unnamed_order_has_no_order_id() -> None:
    assert "order_id" not in letter(delivery()).fields


def originals(buried: Settlement) -> list[bytes]:
    first = next(n for n, part in enumerate(buried.fields) if isinstance(part, bytes))
    return [part if isinstance(part, bytes) else part.encode() for part in buried.fields[first:]]


@given(fields=st.lists(st.tuples(st.binary(max_size=10), st.binary(max_size=20)), min_size=1, max_size=8))
def test_letter_keeps_every_field_in_order_with_its_repeats_and_bytes(
    fields: list[tuple[bytes, bytes]],
) -> None:
    raw = tuple(part for pair in fields for part in pair)

    kept = originals(letter(delivery("1-1", raw)))

    assert kept == [part for name, value in fields for part in (b"orig:" + name, value)]


@pytest.mark.parametrize("reason", ["too_large", "poison"])
def test_letter_of_an_entry_that_is_too_large_keeps_its_traits_only(reason: str) -> None:
    raw = (b"reason", b"x" * 5000, b"\xff", b"y")
    content = b"".join(raw)

    fields = letter(delivery("1-1", raw), reason=reason).fields

    assert fields[-6:] == ["size", "5008", "sha256", sha256(content).hexdigest(), "head", content[:1024]]
    assert not any(isinstance(part, bytes) and part.startswith(b"orig:") for part in fields)


def test_letter_of_an_entry_of_too_many_fields_keeps_its_traits_only() -> None:
    raw = tuple(b"%d" % n for n in range(34))

    fields = letter(delivery("1-1", raw)).fields

    assert "sha256" in fields
    assert not any(isinstance(part, bytes) and part.startswith(b"orig:") for part in fields)


def test_letter_has_no_text_that_can_not_be_sent() -> None:
    fields = pairs(letter(delivery(), error="half \ud800 and NUL \0").fields)

    assert fields["error"] == "half ? and NUL ?"


def test_letter_bounds_the_error_text() -> None:
    fields = pairs(letter(delivery(), error="x" * 100_000).fields)

    assert len(fields["error"]) == 1000


def test_letter_of_a_trimmed_entry_has_no_original_fields() -> None:
    fields = letter(Delivery("1-1", (), 0, False), reason="trimmed").fields

    assert all(isinstance(part, str) for part in fields)


def test_submitted_order_becomes_flat_fields() -> None:
    assert wire.order_fields(b'{"symbol": "A", "price": null, "quantity": 1.50}') == {
        "symbol": "A",
        "quantity": "1.50",
    }


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"null", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'"order"', "not a JSON object"),
        (b"{}", "without fields"),
        (b'{"a": null}', "without fields"),
        (b'{"a": true}', "neither text nor a number"),
        (b'{"a": ["b"]}', "neither text nor a number"),
        (b'{"a": {}}', "neither text nor a number"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": 1, "a": 1}', "a key stands in it twice"),
    ],
)
def test_what_no_flat_entry_can_carry_is_not_submitted(line: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        wire.order_fields(line)
