"""The page of the wire format and its JSON Schemas, made from the code: each rule with the answer it earns.

Every entry on the page is read by the decoder when the page is made, so what stands beside it is what it
really comes to. `python -m tests.wire_format` writes all of it, a test compares.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.builders import decoder, pairs, record
from worker.domain.decimals import FRACTION_DIGITS, INTEGER_DIGITS
from worker.domain.deliveries import Delivery
from worker.domain.orders import WITH_RESULT, DeadReason, Labels, Order, Side, Undecodable, UnsoundOrder
from worker.domain.trace_context import TRACEPARENT
from worker.wire import result_fields
from worker.wire.fields import SYMBOL
from worker.wire.names import LABELS, ORDER_ID, PAYLOAD_FIELDS, REPLAY_OF

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "wire-format.md"
ORDER_SCHEMA = DOCS / "schemas" / "order.schema.json"
RESULT_SCHEMA = DOCS / "schemas" / "order_result.schema.json"

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SOUND = {"order_id": "a-1", "symbol": "BTCUSD", "side": "BUY", "quantity": "0.5"}
LONG_AMOUNT = "0." + "1" * (FRACTION_DIGITS + 1)
DRAFT = "https://json-schema.org/draft/2020-12/schema"


class Entry(Struct):
    """An entry as the page shows it, its fields as Redis has them, and what it says where a schema can tell.

    What is `plain` is spelled as the schema has it: where it is executed, the schema allows it.
    """

    shown: str
    fields: Sequence[bytes]
    document: dict[str, Any] | None
    plain: bool = True


class Rule(Struct):
    """A rule in words, and entries that keep or break it."""

    says: str
    entries: Sequence[Entry]


def flat(*, plain: bool = True, **edits: str | None) -> Entry:
    """Return a sound flat entry but for these fields; None leaves one out."""
    document = {name: value for name, value in {**SOUND, **edits}.items() if value is not None}
    fields = tuple(part.encode() for pair in document.items() for part in pair)
    return Entry(_edits(edits), fields, document, plain)


def payload(*, plain: bool = True, **edits: Any) -> Entry:
    """Return a sound payload but for these keys."""
    document = {**SOUND, **edits}
    fields = (b"payload", json.dumps(document).encode())
    return Entry(f"payload `{json.dumps(edits)}`", fields, document, plain)


def raw(shown: str, *fields: bytes) -> Entry:
    """Return an entry that no document tells."""
    return Entry(shown, fields, None)


def _edits(edits: dict[str, str | None]) -> str:
    told = [
        f"no `{name}`" if value is None else f"`{name}={_shortened(value)}`" for name, value in edits.items()
    ]
    return ", ".join(told)


def _shortened(value: str) -> str:
    return value if len(value) <= 40 else f"{value[:6]}…` of {len(value)} characters `"


SOUND_FIELDS = tuple(part.encode() for pair in SOUND.items() for part in pair)
RULES = (
    Rule(
        "`symbol` is 1 to 32 characters of `A-Z a-z 0-9 . _ : / -`, a letter or figure first.",
        (flat(symbol="BTC/USD"), flat(symbol="BTC USD"), flat(symbol=None), payload(symbol=7)),
    ),
    Rule(
        "`side` is BUY or SELL, in any case.",
        (flat(side="sell"), flat(side="HOLD"), flat(side=None), payload(side=True)),
    ),
    Rule(
        f"`quantity` is a decimal greater than zero, of up to {INTEGER_DIGITS} digits before the point and"
        f" {FRACTION_DIGITS} after it. It is kept to the digit, never rounded.",
        (
            flat(quantity="0.000000000000000001"), flat(quantity="1e3", plain=False), payload(quantity=2),
            payload(quantity=0.25, plain=False), flat(quantity="0"), flat(quantity="-1"),
            flat(quantity=LONG_AMOUNT), flat(quantity="ten"), flat(quantity=None), payload(quantity="NaN"),
        ),
    ),
    Rule(
        "`price` is the same. A market order has none: leave it out, or send a JSON null.",
        (flat(price="61000.5"), payload(price=None), flat(price=""), flat(price="0"), flat(price="market")),
    ),
    Rule(
        "`stop_loss_pct` is 0 to 100. Where there is none, leave it out.",
        (flat(stop_loss_pct="2.5"), flat(stop_loss_pct="101"), flat(stop_loss_pct="")),
    ),
    Rule(
        "`order_id` is 1 to 128 characters of `A-Z a-z 0-9 . _ : / -`. Without one the order is named after"
        " its entry, and a producer's retry is a new order.",
        (
            flat(order_id="desk-1:2026/11"), flat(order_id=None), payload(order_id=42, plain=False),
            flat(order_id="a b"), flat(order_id=""), payload(order_id=1.5),
        ),
    ),
    Rule(
        "`type` is `order`, or left out: it tells orders from other messages, not limits from market orders.",
        (flat(type="order"), flat(type="limit")),
    ),
    Rule(
        "The other labels (" + ", ".join(f"`{name}`" for name in LABELS) + ") are any text, or a JSON number."
        " They are kept as sent.",
        (flat(reason="breakout, 15m"), payload(signal_id=7), payload(bot_id=["x"], plain=False)),
    ),
    Rule(
        "`traceparent`, as W3C's Trace Context has it, is no part of the order. Its result says it, too. It"
        " may stand beside a payload, where it goes before one inside; a malformed one is ignored.",
        (
            flat(traceparent=TRACE), flat(traceparent="00-new-01"),
            raw(f"`payload` and `traceparent={TRACE}`", *payload().fields, b"traceparent", TRACE.encode()),
        ),
    ),
    Rule(
        "Fields of other names are ignored and counted.",
        (flat(qty="1"), flat(venue="X")),
    ),
    Rule(
        "What is sent is text in UTF-8 without NUL.",
        (
            raw("`reason` in Latin-1", *SOUND_FIELDS, b"reason", b"\xe9"),
            raw("a NUL in `reason`", *SOUND_FIELDS, b"reason", b"a\0b"),
        ),
    ),
    Rule(
        "A field stands in an entry once.",
        (raw("`quantity=1` and `quantity=2`", *SOUND_FIELDS[:-2], b"quantity", b"1", b"quantity", b"2"),),
    ),
    Rule(
        "Instead of flat fields one field, `payload` or `data`, may carry a JSON object of the same names."
        " Beside it stand no fields of an order but `order_id` and `traceparent`.",
        (
            payload(),
            raw("`payload={not json`", b"payload", b"{not json"),
            raw("`payload=[]`", b"payload", b"[]"),
            raw("a key twice in `payload`", b"payload", b'{"symbol": "A", "symbol": "B"}'),
            raw("`payload` and `data`", b"payload", b"{}", b"data", b"{}"),
            raw("`payload` and `price=1`", b"payload", b"{}", b"price", b"1"),
        ),
    ),
    Rule(
        "An entry holds at least one field of an order, is of 65,536 bytes and 64 fields at the most, and its"
        " payload is nested 32 deep at the most (`WORKER_MAX_ENTRY_BYTES`, `WORKER_MAX_ENTRY_FIELDS`,"
        " `WORKER_MAX_ENTRY_DEPTH`).",
        (
            raw("`hello=world`", b"hello", b"world"),
            raw("`reason` of 65,536 bytes", *SOUND_FIELDS, b"reason", b"x" * 65_536),
            raw("65 fields", *(b"%d" % n for n in range(130))),
            raw("a payload of 33 brackets", b"payload", b"[" * 33 + b"]" * 33),
        ),
    ),
)  # fmt: skip

# Which entry of an order id that is there already is the order again, and which is another one.
AGAIN = (
    ("the same content", SOUND),
    ("another spelling of an amount: `quantity=0.50`", SOUND | {"quantity": "0.50"}),
    (
        "another `reason`, `signal_id` or `timestamp`",
        SOUND | {"reason": "x", "signal_id": "2", "timestamp": "3"},
    ),
    ("another `traceparent`: the row keeps the first", SOUND | {"traceparent": TRACE}),
    ("another `quantity`", SOUND | {"quantity": "0.6"}),
    ("a `price` where there was none", SOUND | {"price": "1"}),
    ("another `strategy_id`, `bot_id` or `client_id`", SOUND | {"client_id": "other"}),
)

EARNED_BY = {
    DeadReason.UNDECODABLE: "nobody can tell what the order is: see the rules above",
    DeadReason.AMBIGUOUS: "it says two things: see the rules above",
    DeadReason.TOO_LARGE: "it is beyond the limits above; its size and first KiB are kept, not its fields",
    DeadReason.CONFLICT: "its order id belongs to an order with other content",
    DeadReason.FAILED: "the executor raised `WORKER_MAX_DELIVERIES` times",
    DeadReason.POISON: "it took the process down as often, or ended in an error that nobody expected",
    DeadReason.DATABASE_REJECTED: "its row breaks a constraint of the table",
    DeadReason.TRIMMED: "it was deleted from the stream after it was taken and before it was read again",
}

HEAD = """# Wire format

This page is made from the code: `python -m tests.wire_format` writes it, and a test compares. Each entry on
it was read by the worker's own decoder when the page was made, so the answer beside it is the real one.

An order ends in one of four ways:

| answer | what there is then |
|---|---|
| executed | a row, and one entry on `order_results`: FILLED, REJECTED or ERROR, as the executor says |
| REJECTED | a row, and one entry on `order_results` with status REJECTED and the rule in `error_message` |
| dead letter | an entry on `orders:dead` with the reason and every byte that was sent; no result |
| duplicate | nothing new: the first entry of the order has the one result |

## An order, in

[`order.schema.json`](schemas/order.schema.json) is its JSON Schema. What the schema allows is executed; a
test holds the decoder to that. The decoder also understands what the schema leaves out: exponents, fractions
as JSON numbers, an integer as order id. A flat entry has the same fields, each value as text.

```console
$ redis-cli XADD orders '*' order_id a-1 symbol BTCUSD side BUY quantity 0.5
```

Each rule below is followed by entries which are that order but for what is shown.
"""

AFTER_RULES = """
With `WORKER_MAX_ORDER_AGE_S` an order that is too old, or dated ahead, is REJECTED.
`WORKER_MAX_INTEGER_DIGITS` and `WORKER_MAX_FRACTION_DIGITS` narrow the digits, `WORKER_ORDER_ID_FIELD` names
another field that identifies an order ([settings](configuration.md)).

## The same order id again

The row of an order knows what was executed. An entry that comes with the same order id is compared with it:

| it has | answer |
|---|---|
"""

LETTERS = """
A duplicate is acked and counted (`orders_duplicate`); a conflict leaves the stored order untouched.

## A dead letter

`orders:dead` has `entry_id`, `reason`, `order_id` where known, `error`, `deliveries`, `first_seen`,
`last_seen`, `consumer`, `worker_version` and `source`, then every original field behind the prefix `orig:`.
[The runbook](runbook/dead-letters.md) says what a person does about each reason.

| reason | earned by |
|---|---|
"""

RESULT = """
## A result, out

[`order_result.schema.json`](schemas/order_result.schema.json) is its JSON Schema. Every value is text. A
field that has nothing to say is left out. A result is made of its row alone: published again, it is the same
to the byte. Readers that must survive a loss of Redis dedupe on `order_id`.

| field | always there | meaning |
|---|---|---|
"""

MEANINGS = {
    "type": "`order_result`",
    "order_id": "the order that it answers for",
    "entry_id": "the entry on the orders stream that was executed",
    "status": "FILLED (perhaps in part), REJECTED or ERROR",
    "filled_quantity": "what was filled; 0 where nothing was",
    "timestamp": "when it was executed, unix time in seconds",
    "symbol": "as in the order",
    "side": "BUY or SELL",
    "quantity": "as in the order, in its plain spelling",
    "price": "the average price of the fills",
    "trade_id": "the first fill",
    "strategy_id": "as in the order",
    "bot_id": "as in the order",
    "client_id": "as in the order",
    "error_message": "why it was rejected, or failed",
    "traceparent": "as in the entry that was executed",
}
FOOT = """
With `WORKER_RESULTS_CHANNEL` the same is published on a Pub/Sub channel, as one JSON object of these texts.
"""


def answer(fields: Sequence[bytes]) -> str:
    """Return what becomes of an entry, by the decoder."""
    read = decoder()
    found = read.decode(Delivery("1700000000000-0", tuple(fields), 1, True))
    if isinstance(found, Undecodable):
        return f"dead letter, `{found.reason}`: {_cell(found.error)}"
    if isinstance(found, UnsoundOrder):
        return f"REJECTED: {_cell(found.why)}"
    notes = []
    if found.order_id != "a-1":
        notes.append(f"as order `{found.order_id}`")
    if read.unknown_fields:
        notes.append("the field is counted in `unknown_fields`")
    if read.malformed_traceparents:
        notes.append("the trace begins anew, and it is counted in `malformed_traceparents`")
    if read.dropped_labels:
        notes.append("the label is left out, and counted in `dropped_labels`")
    return ", ".join(["executed", *notes])


def _answer_to_another(said: dict[str, str]) -> str:
    return "duplicate" if fingerprint(said) == fingerprint(SOUND) else "dead letter, `conflict`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def fingerprint(document: dict[str, str]) -> bytes:
    """Return what tells an order from another of the same id."""
    fields = tuple(part.encode() for pair in document.items() for part in pair)
    found = decoder().decode(Delivery("1-1", fields, 1, True))
    assert isinstance(found, Order)
    return found.fingerprint


def page() -> str:
    """Return the page."""
    again = [f"| {what} | {_answer_to_another(said)} |\n" for what, said in AGAIN]
    letters = [f"| `{reason}` | {EARNED_BY[reason]} |\n" for reason in EARNED_BY]
    required = order_result_schema()["required"]
    results = [
        f"| `{name}` | {'yes' if name in required else 'where known'} | {MEANINGS[name]} |\n"
        for name in full_result()
    ]
    return "".join([HEAD, *_rules(), AFTER_RULES, *again, LETTERS, *letters, RESULT, *results, FOOT])


def _rules() -> Iterator[str]:
    for rule in RULES:
        yield f"\n**{rule.says}**\n\n| entry | answer |\n|---|---|\n"
        for entry in rule.entries:
            shown = "as it is" if entry.shown == "payload `{}`" else entry.shown
            yield f"| {shown} | {answer(entry.fields)} |\n"


def order_schema() -> dict[str, Any]:
    """Return the JSON Schema of an order: what it allows is executed."""
    # Not zero, and no more digits than are kept.
    positive = rf"^(?=[0-9.]*[1-9])(?:[0-9]{{1,{INTEGER_DIGITS}}})(?:\.[0-9]{{1,{FRACTION_DIGITS}}})?$"
    percentage = rf"^(?:100|[0-9]{{1,2}}(?:\.[0-9]{{1,{FRACTION_DIGITS}}})?)$"
    amount = {
        "type": ["string", "integer"],
        "pattern": positive,
        "exclusiveMinimum": 0,
        "exclusiveMaximum": 10**INTEGER_DIGITS,
    }
    label = {"type": ["string", "number", "null"], "pattern": r"^[^\u0000]*$"}
    properties: dict[str, Any] = {
        "type": {"enum": ["order", None]},
        "order_id": {"type": ["string", "null"], "pattern": f"^{ORDER_ID.pattern}$"},
        "symbol": {"type": "string", "pattern": f"^{SYMBOL.pattern}$"},
        "side": {"type": "string", "pattern": "^(?:[Bb][Uu][Yy]|[Ss][Ee][Ll][Ll])$"},
        "quantity": amount,
        "price": amount | {"type": ["string", "integer", "null"]},
        "stop_loss_pct": {
            "type": ["string", "integer", "null"], "pattern": percentage, "minimum": 0, "maximum": 100,
        },
        **dict.fromkeys(LABELS, label),
        TRACEPARENT: {"type": ["string", "null"]},
        **dict.fromkeys(sorted({*PAYLOAD_FIELDS, REPLAY_OF}), False),
    }  # fmt: skip
    return {
        "$schema": DRAFT,
        "title": "An order on the orders stream",
        "description": "Flat fields, each value as text, or a JSON object in the field payload or data.",
        "type": "object",
        "required": ["symbol", "side", "quantity"],
        "maxProperties": 64,
        "properties": properties,
    }


def full_result() -> dict[str, str]:
    """Return a result that says all that a result can say."""
    labels = Labels(**dict.fromkeys(Labels.__struct_fields__, "x"))
    return pairs(result_fields(record("a-1", labels=labels, error_message="x", traceparent=TRACE)))


def order_result_schema() -> dict[str, Any]:
    """Return the JSON Schema of a result."""
    amount = {"type": "string", "pattern": "^(?:0|[1-9][0-9]*)(?:\\.[0-9]*[1-9])?$"}
    special: dict[str, Any] = {
        "type": {"const": "order_result"},
        "order_id": {"type": "string", "minLength": 1},
        "entry_id": {"type": "string", "pattern": "^[0-9]+-[0-9]+$"},
        "status": {"enum": sorted(WITH_RESULT)},
        "timestamp": {"type": "string", "pattern": "^-?[0-9]+$"},
        "side": {"enum": sorted(Side)},
        TRACEPARENT: {"type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"},
        **dict.fromkeys(("filled_quantity", "quantity", "price"), amount),
    }
    return {
        "$schema": DRAFT,
        "title": "A result on the results stream",
        "type": "object",
        "required": ["type", "order_id", "entry_id", "status", "filled_quantity", "timestamp"],
        "properties": {name: special.get(name, {"type": "string"}) for name in full_result()},
    }


def written() -> dict[Path, str]:
    """Return every file that is made, with what stands in it."""
    schemas = {ORDER_SCHEMA: order_schema(), RESULT_SCHEMA: order_result_schema()}
    return {PAGE: page(), **{path: f"{json.dumps(each, indent=2)}\n" for path, each in schemas.items()}}


if __name__ == "__main__":
    for path, text in written().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
