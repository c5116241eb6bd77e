"""From the raw fields of an entry to an order, by hand: this runs once per order and decides about money."""

import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TypeAlias

from worker.domain.decimals import STORED, Digits, NotExact
from worker.domain.deliveries import Delivery, size_of
from worker.domain.orders import DeadReason, Labels, Order, Side, Undecodable, UnsoundOrder
from worker.wire import names
from worker.wire.fields import (
    NO_TEXT,
    FieldReader,
    Fraction,
    Junk,
    fingerprint_of,
    respelled,
    sound_order,
    spelled,
)
from worker.wire.layouts import Layouts
from worker.wire.nearly import NearNames
from worker.wire.payloads import Refused, json_object, raw_text, refuse_unstorable

Decoded: TypeAlias = Order | UnsoundOrder | Undecodable
Fields: TypeAlias = dict[str, str]

MAX_DEPTH = 32
_SIDES = {side.value: side for side in Side}
_OTHER_TYPE = (
    "its type is not order: orders are sent with type=order or without a type, since it tells them from other "
    "messages; type=limit or type=market is not needed: a limit is the order's price, a market order has none"
)


class Decoder:
    """Turns deliveries into orders; what it can't understand it returns as Undecodable, it never raises."""

    def __init__(
        self,
        *,
        source: str,
        source_before: str,
        order_id_field: str,
        max_bytes: int,
        max_fields: int,
        max_depth: int = MAX_DEPTH,
        digits: Digits = STORED,
        warn: Callable[[Mapping[str, str]], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._source_before = source_before
        self._max_bytes = max_bytes
        self._max_fields = max_fields
        self._max_depth = max_depth
        self._digits = digits
        self._sound_order = sound_order(digits)
        self._names = names.field_names(order_id_field)
        self._nearly = NearNames(self._names, warn)
        self._layouts = Layouts(self._names, max_fields, self._nearly)
        self.unknown_fields = 0
        self.dropped_labels = 0

    @property
    def carriers(self) -> frozenset[bytes]:
        """The fields that carry a payload."""
        return self._names.carriers

    def decode(self, delivery: Delivery) -> Decoded:
        """Return the order, sound or not, or why the entry is none."""
        return self._at_once(delivery) or self._field_by_field(delivery)

    @property
    def renamed(self) -> bool:
        """Whether the source is another than the version before, which named orders after the stream, would have it."""
        return self._source != self._source_before

    def called_before(self, order_id: str, entry_id: str) -> str:
        """Return what the version before called the order of an entry; that is another id where it was derived."""
        return self.called_by(self._source_before, order_id, entry_id)

    def called_by(self, source: str, order_id: str, entry_id: str) -> str:
        """Return what the order of an entry would be called if its stream were another source."""
        derived = order_id == names.derived_order_id(self._source, entry_id)
        return names.derived_order_id(source, entry_id) if derived else order_id

    def _at_once(self, delivery: Delivery) -> Order | None:
        """Return a flat order in which each field is sound, what most are; None where they are to be looked at one by one."""
        layout = self._layouts.of(delivery.fields[::2])
        if layout is None:
            return None
        parts = layout.parts(delivery.fields[1::2], self._max_bytes)
        if parts is None:
            return None
        sent_id, kind, *rest = parts
        order_id = self._order_id(sent_id, delivery.entry_id)
        if order_id is None or kind not in {None, "order"}:
            return None
        order = self._sound(order_id, delivery.entry_id, *rest)
        if order is not None:
            self.unknown_fields += layout.unknown
        return order

    def _sound(
        self,
        order_id: str,
        entry_id: str,
        replay_of: str | None,
        symbol: str | None,
        side: str | None,
        quantity: str | None,
        price: str | None,
        stop_loss_pct: str | None,
        *labelling: str | None,
    ) -> Order | None:
        if symbol is None or side is None or quantity is None:
            return None
        labels = Labels(*labelling)
        # Most are sent as they are spelled in a fingerprint.
        spelling = self._sound_spelling(symbol, side, quantity, price, stop_loss_pct, labels)
        if spelling is None:
            try:
                side, quantity, price, stop_loss_pct = respelled(
                    side, quantity, price, stop_loss_pct, self._digits
                )
            except NotExact:
                return None
            spelling = self._sound_spelling(symbol, side, quantity, price, stop_loss_pct, labels)
        if spelling is None:
            return None
        return Order(
            order_id,
            entry_id,
            fingerprint_of(spelling),
            symbol,
            _SIDES[side],
            Decimal(quantity),
            _decimal(price),
            _decimal(stop_loss_pct),
            labels,
            replay_of,
        )

    def _sound_spelling(
        self,
        symbol: str,
        side: str,
        quantity: str,
        price: str | None,
        stop_loss_pct: str | None,
        labels: Labels,
    ) -> str | None:
        spelling = spelled(
            (
                symbol,
                side,
                quantity,
                price,
                stop_loss_pct,
                labels.strategy_id,
                labels.bot_id,
                labels.client_id,
            )
        )
        return spelling if self._sound_order.fullmatch(spelling) else None

    def _field_by_field(self, delivery: Delivery) -> Decoded:
        try:
            fields = self._fields(delivery)
            order_id = self._identity(fields, delivery.entry_id)
        except Refused as refused:
            return Undecodable(refused.reason, refused.error)
        if fields.get("type", "order") != "order":
            return Undecodable(DeadReason.UNDECODABLE, _OTHER_TYPE, order_id)
        order = _order(order_id, delivery.entry_id, fields, self._digits)
        if not isinstance(order, Undecodable):
            self.dropped_labels += sum(isinstance(fields.get(name), Junk) for name in names.LABELS)
        return order

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

    def _payload_fields(self, entry: dict[bytes, bytes]) -> Fields:
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
        order_id = None if isinstance(sent_id, Junk | Fraction) else self._order_id(sent_id, entry_id)
        if order_id is None:
            raise Refused(
                DeadReason.UNDECODABLE, f"{field} is not 1 to 128 characters of A-Z a-z 0-9 . _ : / -"
            )
        return str(order_id)

    def _order_id(self, sent_id: str | None, entry_id: str) -> str | None:
        """Return the order's identity, derived from where it stands if it was sent without; None if that is none."""
        if sent_id is None:
            return names.derived_order_id(self._source, entry_id)
        return sent_id if names.ORDER_ID.fullmatch(sent_id) else None


def _text(key: str, value: bytes) -> str:
    if b"\0" in value:
        raise Refused(DeadReason.UNDECODABLE, f"NUL in {key}")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Refused(DeadReason.UNDECODABLE, f"{key} is not UTF-8") from None


def _order(order_id: str, entry_id: str, fields: Fields, digits: Digits) -> Decoded:
    labels = Labels(*_labels(fields))
    read = FieldReader(fields, digits)
    symbol = read.symbol()
    side = read.side()
    quantity = read.amount("quantity", required=True)
    price = read.amount("price")
    stop_loss_pct = read.percentage("stop_loss_pct")
    # A label that is dropped still tells one order from another.
    fingerprint = fingerprint_of(spelled([*read.canonical, *map(fields.get, names.TELLING_LABELS)]))
    no_text = next((name for name in ("symbol", "side") if isinstance(fields.get(name), NO_TEXT)), None)
    if no_text is not None:
        why = f"{no_text} is not text: JSON has it in quotes"
        return Undecodable(DeadReason.UNDECODABLE, why, order_id, fingerprint)
    if read.faults or symbol is None or side is None or quantity is None:
        return UnsoundOrder(
            order_id=order_id,
            entry_id=entry_id,
            fingerprint=fingerprint,
            why="; ".join(read.faults),
            symbol=symbol,
            side=None if side is None else Side(side),
            quantity=_decimal(quantity),
            price=_decimal(price),
            stop_loss_pct=_decimal(stop_loss_pct),
            labels=labels,
            replay_of=_plain(fields.get(names.REPLAY_OF)),
        )
    return Order(
        order_id,
        entry_id,
        fingerprint,
        symbol,
        Side(side),
        Decimal(quantity),
        _decimal(price),
        _decimal(stop_loss_pct),
        labels,
        _plain(fields.get(names.REPLAY_OF)),
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _labels(fields: Fields) -> Iterable[str | None]:
    for name in names.LABELS:
        value = fields.get(name)
        yield None if isinstance(value, Junk) else _plain(value)


def _plain(value: str | None) -> str | None:
    # The store's encoder refuses kinds of str: an order stamped with a JSON 1.5 would be buried for its row.
    return value if value is None else str(value)
