"""The contract of an entry, read a second time in other ways: slow, plain, without a line of the decoder's.

Characters are walked through one by one instead of matched, depth is counted instead of cut away, amounts are
digits and an exponent of `Decimal.as_tuple`, which no context rounds.
"""

import json
from collections.abc import Mapping
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from types import MappingProxyType
from typing import NamedTuple

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FIGURES = "0123456789"
IN_ORDER_ID = frozenset(LETTERS + FIGURES + "._:/-")
LABELS = ("signal_id", "reason", "timestamp", "strategy_id", "bot_id", "client_id")
KNOWN = frozenset(
    {"type", "symbol", "side", "quantity", "order_id", "price", "stop_loss_pct", "replay_of", *LABELS}
)
TEXT = ("symbol", "side")
WIDE = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
MOST_BYTES, MOST_FIELDS, MOST_DEPTH = 65_536, 64, 32
INTEGER_DIGITS, FRACTION_DIGITS = 20, 30


class Literal(NamedTuple):
    """A JSON number: its text, and whether it is whole."""

    text: str
    whole: bool


class Expected(NamedTuple):
    """What the contract says of an entry: its dead letter's reason, or else the order, with None for junk."""

    dead: str | None = None
    order_id: str = ""
    symbol: str | None = None
    side: str | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    stop_loss_pct: Decimal | None = None
    labels: Mapping[str, str | None] = MappingProxyType({})
    sound: bool = False
    dropped: bool = False
    traceparent: str | None = None


class _Dead(Exception):
    pass


def expected(fields: tuple[bytes, ...], entry_id: str, stream: str = "orders") -> Expected:
    """Return what the contract says of an entry under the default limits."""
    try:
        said = _said(fields)
        order_id = said.get("order_id", f"{''.join(c for c in stream if c in IN_ORDER_ID)}:{entry_id}")
        return _order(said, order_id)
    except _Dead as dead:
        return Expected(str(dead))


def _said(fields: tuple[bytes, ...]) -> dict[str, object]:
    if len(b"".join(fields)) > MOST_BYTES or len(fields) // 2 > MOST_FIELDS:
        raise _Dead("too_large")
    raw_names = fields[::2]
    if len(set(raw_names)) < len(raw_names):
        raise _Dead("ambiguous")
    pairs = [(name.decode("utf-8", "replace"), fields[2 * at + 1]) for at, name in enumerate(raw_names)]
    carriers = [value for name, value in pairs if name in {"payload", "data"}]
    if not carriers:
        said: dict[str, object] = {name: _text(value) for name, value in pairs if name in KNOWN}
        _business(said)
        return said | _traces(pairs)
    # The walk is in the entry's order, as the first fault that is met decides.
    beside: dict[str, str] = {}
    for name, value in pairs:
        if name in {"order_id", "replay_of"}:
            beside[name] = _text(value)
        elif name in KNOWN:
            raise _Dead("ambiguous")
    if len(carriers) > 1:
        raise _Dead("ambiguous")
    inside = _inside(carriers[0])
    _business(inside)
    if "replay_of" not in beside and any(inside.get(name, text) != text for name, text in beside.items()):
        raise _Dead("ambiguous")
    return inside | beside | _traces(pairs)


def _traces(pairs: list[tuple[str, bytes]]) -> dict[str, object]:
    # Read byte by byte: whatever it holds is no fault of the order.
    return {name: value.decode("latin-1") for name, value in pairs if name == "traceparent"}


def _business(said: dict[str, object]) -> None:
    if not said.keys() - {"type", "replay_of", "traceparent"}:
        raise _Dead("undecodable")


def _text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise _Dead("undecodable") from None
    return _storable(text)


def _storable(text: str) -> str:
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
        raise _Dead("undecodable")
    return text


def _inside(raw: bytes) -> dict[str, object]:
    if _depth(raw) > MOST_DEPTH:
        raise _Dead("undecodable")

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise _Dead("undecodable")
        return dict(pairs)

    def never(_name: str) -> object:
        raise _Dead("undecodable")

    try:
        found = json.loads(
            raw.decode("utf-8", "strict"),
            object_pairs_hook=once,
            parse_float=lambda text: Literal(text, whole=False),
            parse_int=lambda text: Literal(text, whole=True),
            parse_constant=never,
        )
    except ValueError:
        raise _Dead("undecodable") from None
    if not isinstance(found, dict):
        raise _Dead("undecodable")
    said: dict[str, object] = {name: value for name, value in found.items() if name == "traceparent"}
    for name, value in found.items():
        if name in KNOWN and value is not None:
            said[name] = _storable(value) if isinstance(value, str) else value
            if isinstance(value, Literal) and name not in TEXT and (value.whole or name != "order_id"):
                said[name] = value.text
    return said


def _depth(raw: bytes) -> int:
    depth = deepest = 0
    within = escaped = False
    for byte in raw:
        if escaped:
            escaped = False
        elif within:
            escaped = byte == ord("\\")
            within = byte != ord('"')
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
        else:
            within = byte == ord('"')
    return deepest


def _order(said: dict[str, object], order_id: object) -> Expected:
    if not isinstance(order_id, str) or not 1 <= len(order_id) <= 128 or set(order_id) - IN_ORDER_ID:
        raise _Dead("undecodable")
    if said.get("type", "order") != "order":
        raise _Dead("undecodable")
    if any(said.get(name) is not None and not isinstance(said[name], str) for name in TEXT):
        raise _Dead("undecodable")
    labels = {name: value if isinstance(value := said.get(name), str) else None for name in LABELS}
    dropped = any(name in said and label is None for name, label in labels.items())
    symbol, side = _symbol(said.get("symbol")), _side(said.get("side"))
    read = {name: amount(said.get(name)) for name in ("quantity", "price", "stop_loss_pct")}
    quantity, price = (
        value if value is not None and value > 0 else None for value in (read["quantity"], read["price"])
    )
    stop = read["stop_loss_pct"]
    if stop is not None and not 0 <= stop <= 100:
        stop = None
    broken = ("price" in said and price is None) or ("stop_loss_pct" in said and stop is None)
    sound = None not in {symbol, side, quantity} and not broken
    trace = _traceparent(said.get("traceparent"))
    return Expected(None, order_id, symbol, side, quantity, price, stop, labels, sound, dropped, trace)


def _traceparent(value: object) -> str | None:
    if not isinstance(value, str) or len(value) < 55 or (len(value) > 55 and value[55] != "-"):
        return None
    version, trace, parent, flags = parts = (value[:2], value[3:35], value[36:52], value[53:55])
    hexadecimal = all(character in "0123456789abcdef" for character in "".join(parts))
    dashes = value[2] == value[35] == value[52] == "-"
    if not hexadecimal or not dashes or version == "ff" or (version == "00" and len(value) > 55):
        return None
    return None if trace == "0" * 32 or parent == "0" * 16 else f"00-{trace}-{parent}-{flags}"


def _symbol(value: object) -> str | None:
    if not isinstance(value, str) or not 1 <= len(value) <= 32 or value[0] not in LETTERS + FIGURES:
        return None
    return value if set(value) <= IN_ORDER_ID else None


def _side(value: object) -> str | None:
    spellings = dict.fromkeys(_cases("buy"), "BUY") | dict.fromkeys(_cases("sell"), "SELL")
    return spellings.get(value) if isinstance(value, str) else None


def _cases(word: str) -> list[str]:
    if not word:
        return [""]
    return [first + rest for first in (word[0], word[0].upper()) for rest in _cases(word[1:])]


def amount(value: object) -> Decimal | None:
    """Return the exact decimal that a text spells, None where it spells none or one that isn't kept."""
    if not isinstance(value, str) or not _spelled_well(value):
        return None
    mantissa, _, exponent = value.replace("E", "e").partition("e")
    if not mantissa.strip("+-.0"):
        return Decimal(0)
    if len(exponent.lstrip("+-").lstrip("0")) > 9:
        return None
    sign, digits, places = Decimal(value, WIDE).as_tuple()
    assert isinstance(places, int)
    figures = "".join(map(str, digits)).lstrip("0")
    kept = figures.rstrip("0")
    places += len(figures) - len(kept)
    if len(kept) + places > INTEGER_DIGITS or -places > FRACTION_DIGITS:
        return None
    return Decimal((sign, tuple(map(int, kept)), places))


def _spelled_well(text: str) -> bool:
    mantissa, mark, exponent = text.replace("E", "e").partition("e")
    if mark and not _figures(exponent[1:] if exponent[:1] in {"+", "-"} else exponent):
        return False
    unsigned = mantissa[1:] if mantissa[:1] in {"+", "-"} else mantissa
    whole, point, fraction = unsigned.partition(".")
    return _figures(whole + fraction) and (bool(whole) or bool(point))


def _figures(text: str) -> bool:
    return bool(text) and all(character in FIGURES for character in text)
