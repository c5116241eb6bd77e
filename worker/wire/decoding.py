"""From the raw fields of an entry to an order, by hand: this runs once per order and decides about money."""

import json
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from types import NoneType
from typing import NoReturn, TypeAlias

from worker.domain.decimals import STORED, Digits
from worker.domain.deliveries import Delivery
from worker.domain.orders import Labels, Order, Side, Undecodable, UnsoundOrder
from worker.wire import names
from worker.wire.fields import FieldReader, Fraction, Junk, canonical_order, fingerprint_of, spelled

Decoded: TypeAlias = Order | UnsoundOrder | Undecodable
Fields: TypeAlias = dict[str, str]

MAX_DEPTH = 32
_PLAIN_KINDS = {str, NoneType}
_SIDES = {side.value: side for side in Side}
_JSON_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


class _Refused(Exception):
    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason
        self.error = error


class Decoder:
    """Turns deliveries into orders; what it can't understand it returns as Undecodable, it never raises."""

    def __init__(
        self,
        *,
        stream: str,
        order_id_field: str,
        max_bytes: int,
        max_fields: int,
        max_depth: int = MAX_DEPTH,
        digits: Digits = STORED,
    ) -> None:
        self._stream = stream
        self._order_id_field = order_id_field
        self._max_bytes = max_bytes
        self._max_fields = max_fields
        self._max_depth = max_depth
        self._digits = digits
        self._canonical_order = canonical_order(digits)
        self._known = names.ORDER_FIELDS | {order_id_field, names.REPLAY_OF}
        self._keys = {name.encode(): name for name in self._known}
        self._business = self._known - {"type", names.REPLAY_OF}
        self.unknown_fields = 0

    def decode(self, delivery: Delivery) -> Decoded:
        """Return the order, sound or not, or why the entry is none."""
        try:
            fields = self._fields(delivery.fields)
            order_id = self._identity(fields, delivery.entry_id)
        except _Refused as refused:
            return Undecodable(refused.reason, refused.error)
        try:
            return self._as_sent(order_id, delivery.entry_id, fields) or _order(
                order_id, delivery.entry_id, fields, self._digits
            )
        except _Refused as refused:
            return Undecodable(refused.reason, refused.error, order_id)

    def _fields(self, raw: Sequence[bytes]) -> Fields:
        joined = b"\0".join(raw)
        size = len(joined) - max(0, len(raw) - 1)
        if size > self._max_bytes or len(raw) > 2 * self._max_fields:
            raise _Refused("too_large", f"{size} bytes in {len(raw) // 2} fields")
        fields = _all_as_text(raw, joined)
        if fields.keys() <= self._known and not self._business.isdisjoint(fields):
            return fields
        return self._chosen_fields(raw)

    def _chosen_fields(self, raw: Sequence[bytes]) -> Fields:
        entry = dict(zip(raw[::2], raw[1::2], strict=True))
        if 2 * len(entry) != len(raw):
            raise _Refused("ambiguous", "a field stands in the entry twice")
        if b"payload" in entry or b"data" in entry:
            return self._payload_fields(entry)
        known = self._keys
        fields = {known[name]: _text(known[name], value) for name, value in entry.items() if name in known}
        self.unknown_fields += len(entry) - len(fields)
        if self._business.isdisjoint(fields):
            raise _Refused("undecodable", "no field of an order in it")
        return fields

    def _payload_fields(self, entry: dict[bytes, bytes]) -> Fields:
        beside: Fields = {}
        carriers = []
        for name, value in entry.items():
            key = name.decode("utf-8", "replace")
            if key in names.PAYLOAD_FIELDS:
                carriers.append(value)
            elif key in names.RESERVED_FIELDS:
                beside[key] = _text(key, value)
            elif key in self._known:
                raise _Refused("ambiguous", f"the field {key} stands beside a payload")
            else:
                self.unknown_fields += 1
        if len(carriers) > 1:
            raise _Refused("ambiguous", "both payload and data")
        fields = self._known_of(_json_object(carriers[0], self._max_depth))
        if names.REPLAY_OF in beside:
            # Put there by a replay, which may have given the order another id: the payload keeps its bytes.
            return fields | beside
        for key, text in beside.items():
            if fields.setdefault(key, text) != text:
                raise _Refused("ambiguous", f"{key} differs inside and beside the payload")
        return fields

    def _known_of(self, payload: dict[str, object]) -> Fields:
        fields: Fields = {}
        for key, value in payload.items():
            if key not in self._known:
                self.unknown_fields += 1
            elif isinstance(value, str):
                _refuse_unstorable(key, value)
                fields[key] = value
            elif value is not None:
                fields[key] = Junk(json.dumps(value, sort_keys=True))
        if self._business.isdisjoint(fields):
            raise _Refused("undecodable", "no field of an order in it")
        return fields

    def _as_sent(self, order_id: str, entry_id: str, fields: Fields) -> Order | None:
        """Return the order where each field is sound and spelled as in a fingerprint; what most are, and it is quick."""
        get = fields.get
        symbol, side, quantity, price, stop_loss_pct = map(get, names.DECISIVE)
        labels = Labels(*map(get, names.LABELS))
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
        if self._canonical_order.fullmatch(spelling) is None or not _PLAIN_KINDS.issuperset(
            map(type, fields.values())
        ):
            return None
        if get("type", "order") != "order" or symbol is None or side is None or quantity is None:
            return None
        return Order(
            order_id,
            entry_id,
            fingerprint_of(spelling),
            symbol,
            _SIDES[side],
            Decimal(quantity),
            None if price is None else Decimal(price),
            None if stop_loss_pct is None else Decimal(stop_loss_pct),
            labels,
            get(names.REPLAY_OF),
        )

    def _identity(self, fields: Fields, entry_id: str) -> str:
        # A replayed entry names the order it stands for, whichever field producers use.
        field = "order_id" if names.REPLAY_OF in fields else self._order_id_field
        order_id = fields.get(field)
        if order_id is None:
            return names.derived_order_id(self._stream, entry_id)
        if isinstance(order_id, (Junk, Fraction)) or names.ORDER_ID.fullmatch(order_id) is None:
            raise _Refused("undecodable", f"{field} is not 1 to 128 characters of A-Z a-z 0-9 . _ : / -")
        return order_id


def _all_as_text(raw: Sequence[bytes], joined: bytes) -> Fields:
    """Return names and values in one go, nothing where not all of them are text, or a name stands there twice."""
    try:
        texts = joined.decode().split("\0")
    except UnicodeDecodeError:
        return {}
    fields = dict(zip(texts[::2], texts[1::2], strict=False))
    return fields if 2 * len(fields) == len(texts) == len(raw) else {}


def _text(key: str, value: bytes) -> str:
    if b"\0" in value:
        raise _Refused("undecodable", f"NUL in {key}")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _Refused("undecodable", f"{key} is not UTF-8") from None


def _refuse_unstorable(key: str, value: str) -> None:
    if "\0" in value:
        raise _Refused("undecodable", f"NUL in {key}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _Refused("undecodable", f"half a surrogate pair in {key}") from None


def _json_object(raw: bytes, max_depth: int) -> dict[str, object]:
    # Before it is parsed: the parser recurses, and so does whatever handles what it returns.
    if _deeper_than(max_depth, raw):
        raise _Refused("undecodable", "the payload is nested too deeply")
    try:
        # Numbers stay text: a float would round an amount, an int of 5,000 digits would raise.
        value = json.loads(
            raw.decode(),
            object_pairs_hook=_without_repeats,
            parse_float=Fraction,
            parse_int=str,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError:
        raise _Refused("undecodable", "the payload is not UTF-8") from None
    except ValueError:
        raise _Refused("undecodable", "the payload is not JSON") from None
    if not isinstance(value, dict):
        raise _Refused("undecodable", "the payload is not a JSON object")
    return value


def _deeper_than(depth: int, raw: bytes) -> bool:
    """Whether brackets stand within brackets deeper than this. Never recurses; linear in the size at any depth."""
    if raw.count(b"[") + raw.count(b"{") <= depth:
        return False
    left = _JSON_STRING.sub(b"", raw).translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(depth):
        # Each round takes away the innermost level; what then is left was deeper, or was never closed.
        left = left.replace(b"[]", b"")
    return b"[]" in left or left.count(b"[") > depth


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("undecodable", "a key stands in the payload twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise _Refused("undecodable", f"{name} in the payload")


def _order(order_id: str, entry_id: str, fields: Fields, digits: Digits) -> Order | UnsoundOrder:
    if fields.get("type", "order") != "order":
        raise _Refused("undecodable", "its type is not order")
    labels = Labels(*_labels(fields))
    read = FieldReader(fields, digits)
    symbol = read.symbol()
    side = read.side()
    quantity = read.amount("quantity", required=True)
    price = read.amount("price")
    stop_loss_pct = read.percentage("stop_loss_pct")
    fingerprint = fingerprint_of(
        spelled([*read.canonical, labels.strategy_id, labels.bot_id, labels.client_id])
    )
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
        if isinstance(value, Junk):
            raise _Refused("undecodable", f"{name} is not text")
        yield _plain(value)


def _plain(value: str | None) -> str | None:
    # The store's encoder refuses kinds of str: an order stamped with a JSON 1.5 would be buried for its row.
    return value if value is None else str(value)
