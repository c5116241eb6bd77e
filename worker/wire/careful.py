"""The careful way to read an order, field by field: it decides on money, and says what is wrong with each."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import TypeAlias

from worker.domain.decimals import Digits
from worker.domain.deliveries import Delivery, size_of
from worker.domain.orders import DeadReason, Labels, Order, Side, Undecodable, UnsoundOrder
from worker.domain.trace_context import TRACEPARENT, traceparent_of
from worker.wire import names
from worker.wire.fields import NO_TEXT, FieldReader, Fraction, Junk, decimal_of
from worker.wire.fingerprints import fingerprint_of
from worker.wire.nearly import NearNames
from worker.wire.payloads import Refused, json_object, raw_text, refuse_unstorable

Decoded: TypeAlias = Order | UnsoundOrder | Undecodable
Fields: TypeAlias = dict[str, str]

_OTHER_TYPE = (
    "its type is not order: orders are sent with type=order or without a type,"
    " since it tells them from other messages; type=limit or type=market is not needed:"
    " a limit is the order's price, a market order has none"
)


class CarefulReader:
    """Reads any entry; what it can't understand it returns as Undecodable, it never raises."""

    def __init__(
        self,
        source: str,
        field_names: names.FieldNames,
        nearly: NearNames,
        digits: Digits,
        *,
        max_bytes: int,
        max_fields: int,
        max_depth: int,
    ) -> None:
        self._source = source
        self._names = field_names
        self._nearly = nearly
        self._digits = digits
        self._max_bytes = max_bytes
        self._max_fields = max_fields
        self._max_depth = max_depth
        self.unknown_fields = 0
        self.dropped_labels = 0
        self.malformed_traceparents = 0

    def read(self, delivery: Delivery) -> Decoded:
        """Return the order, sound or not, or why the entry is none."""
        try:
            fields = self._fields(delivery)
        except Refused as refused:
            return Undecodable(refused.reason, refused.error)
        try:
            order_id = self._identity(fields, delivery.entry_id)
        except Refused as refused:
            # Another field may have named it before.
            fingerprint = fingerprint_of(_canonical(fields, self._digits))
            return Undecodable(refused.reason, refused.error, None, fingerprint)
        if fields.get("type", "order") != "order":
            return Undecodable(DeadReason.UNDECODABLE, _OTHER_TYPE, order_id)
        order = _order(order_id, delivery.entry_id, fields, self._digits)
        if not isinstance(order, Undecodable):
            self.dropped_labels += sum(isinstance(fields.get(name), Junk) for name in names.LABELS)
            self.malformed_traceparents += TRACEPARENT in fields and order.traceparent is None
        return order

    def parts(self, delivery: Delivery) -> dict[str, str | None] | None:
        """Return what the fingerprint of an entry is made of, by name; None where it is no order at all."""
        try:
            fields = self._fields(delivery)
        except Refused:
            return None
        said = _canonical(fields, self._digits)
        return {name: _plain(said.get(name)) for name in names.FINGERPRINTED}

    def _fields(self, delivery: Delivery) -> Fields:
        raw, withheld = delivery.fields, delivery.withheld
        size, count = (size_of(raw), len(raw) // 2) if withheld is None else (withheld.size, withheld.fields)
        if withheld is not None or size > self._max_bytes or count > self._max_fields:
            raise Refused(DeadReason.TOO_LARGE, f"{size} bytes in {count} fields")
        entry = dict(zip(raw[::2], raw[1::2], strict=True))
        if 2 * len(entry) != len(raw):
            raise Refused(DeadReason.AMBIGUOUS, "a field stands in the entry twice")
        if not self._names.carriers.isdisjoint(entry):
            return self._payload_fields(entry)
        known = self._names.keys
        fields = {known[name]: _text(known[name], value) for name, value in entry.items() if name in known}
        if len(fields) < len(entry):
            self.unknown_fields += len(entry) - len(fields)
            self._nearly.look_at(entry)
        self._refuse_empty(fields)
        return fields

    def _payload_fields(self, entry: Mapping[bytes, bytes]) -> Fields:
        beside: Fields = {}
        carriers = []
        for name, value in entry.items():
            key = name.decode("utf-8", "replace")
            if name in self._names.carriers:
                carriers.append(value)
            elif key in names.RESERVED_FIELDS:
                beside[key] = _text(key, value)
            elif key in self._names.known:
                raise Refused(DeadReason.AMBIGUOUS, f"the field {key} stands beside a payload")
            else:
                self.unknown_fields += 1
                self._nearly.look_at(entry)
        if len(carriers) > 1:
            raise Refused(DeadReason.AMBIGUOUS, "both payload and data")
        fields = self._known_of(json_object(carriers[0], self._max_depth))
        if names.REPLAY_OF in beside:
            # Put there by a replay, which may have given the order another id: the payload keeps its bytes.
            return fields | beside
        if TRACEPARENT in beside:
            # Whoever added the entry knows the trace; a message that is passed on may name the one before.
            fields[TRACEPARENT] = beside[TRACEPARENT]
        for key, text in beside.items():
            if fields.setdefault(key, text) != text:
                raise Refused(DeadReason.AMBIGUOUS, f"{key} differs inside and beside the payload")
        return fields

    def _known_of(self, payload: dict[str, object]) -> Fields:
        fields: Fields = {}
        if not self._names.known.issuperset(payload):
            self._nearly.look(tuple(payload))
        for key, value in payload.items():
            if key not in self._names.known:
                self.unknown_fields += 1
            elif key == TRACEPARENT:
                if value is not None:
                    fields[key] = value if isinstance(value, str) else ""
            elif isinstance(value, str):
                refuse_unstorable(key, value)
                fields[key] = value
            elif value is not None:
                # Of what decides, numbers have quotes here: rows that stand were told apart so.
                fields[key] = Junk(
                    raw_text(value) if key in names.LABELS else json.dumps(value, sort_keys=True)
                )
        self._refuse_empty(fields)
        return fields

    def _refuse_empty(self, fields: Fields) -> None:
        if self._names.business.isdisjoint(fields):
            raise Refused(DeadReason.UNDECODABLE, "no field of an order in it")

    def _identity(self, fields: Fields, entry_id: str) -> str:
        field = self._names.identity(fields)
        sent_id = fields.get(field)
        if not isinstance(sent_id, Junk | Fraction):
            order_id = names.order_id_of(self._source, sent_id, entry_id)
            if order_id is not None:
                return str(order_id)
        raise Refused(DeadReason.UNDECODABLE, f"{field} is not 1 to 128 characters of A-Z a-z 0-9 . _ : / -")


def _text(key: str, value: bytes) -> str:
    if key == TRACEPARENT:
        # Whatever it holds, the order is not refused for it.
        return value.decode("ascii", "replace")
    if b"\0" in value:
        raise Refused(DeadReason.UNDECODABLE, f"NUL in {key}")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Refused(DeadReason.UNDECODABLE, f"{key} is not UTF-8") from None


def _canonical(fields: Fields, digits: Digits) -> dict[str, str | None]:
    read = FieldReader(fields, digits)
    _read_all(read)
    return {**fields, **read.canonical}


def _order(order_id: str, entry_id: str, fields: Fields, digits: Digits) -> Decoded:
    read = FieldReader(fields, digits)
    symbol, side, quantity, price, stop_loss_pct = _read_all(read)
    # A label that is dropped still tells one order from another.
    fingerprint = fingerprint_of({**fields, **read.canonical})
    no_text = _no_text(fields)
    if no_text is not None:
        return Undecodable(DeadReason.UNDECODABLE, no_text, order_id, fingerprint)
    labels = Labels(**{name: _label(fields.get(name)) for name in names.LABELS})
    replay_of = _plain(fields.get(names.REPLAY_OF))
    traceparent = traceparent_of(fields.get(TRACEPARENT))
    if read.faults or symbol is None or side is None or quantity is None:
        return UnsoundOrder(
            order_id=order_id,
            entry_id=entry_id,
            fingerprint=fingerprint,
            why="; ".join(read.faults),
            symbol=symbol,
            side=None if side is None else Side(side),
            quantity=quantity,
            price=price,
            stop_loss_pct=stop_loss_pct,
            labels=labels,
            replay_of=replay_of,
            traceparent=traceparent,
        )
    return Order(
        order_id=order_id,
        entry_id=entry_id,
        fingerprint=fingerprint,
        symbol=symbol,
        side=Side(side),
        quantity=quantity,
        price=price,
        stop_loss_pct=stop_loss_pct,
        labels=labels,
        replay_of=replay_of,
        traceparent=traceparent,
    )


def _read_all(
    read: FieldReader,
) -> tuple[str | None, str | None, Decimal | None, Decimal | None, Decimal | None]:
    """Return what is executed, in the order of DECISIVE; None of what is absent or unusable."""
    return (
        read.symbol(),
        read.side(),
        decimal_of(read.amount("quantity", required=True)),
        decimal_of(read.amount("price")),
        decimal_of(read.percentage("stop_loss_pct")),
    )


def _no_text(fields: Fields) -> str | None:
    for name in ("symbol", "side"):
        if isinstance(fields.get(name), NO_TEXT):
            return f"{name} is not text: JSON has it in quotes"
    return None


def _label(value: str | None) -> str | None:
    return None if isinstance(value, Junk) else _plain(value)


def _plain(value: str | None) -> str | None:
    # The store's encoder refuses kinds of str: an order stamped with a JSON 1.5 would be buried for its row.
    return value if value is None else str(value)
