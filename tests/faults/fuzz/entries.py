"""Entries that nobody should send: real orders in both wire forms, altered in values, shape and bytes."""

import json
import random
from collections.abc import Callable, Sequence

from tests.faults.fuzz.reference import LABELS
from tests.harness import sample_orders

SAMPLES = sample_orders()
LIMIT = 65_536
FIELDS = ("type", "symbol", "side", "quantity", "order_id", "price", "stop_loss_pct", *LABELS)
NAMES = (
    *FIELDS,
    "payload",
    "data",
    "replay_of",
    "traceparent",
    "",
    " ",
    "unheard_of",
    "Quantity",
    "quantity ",
    "\N{ROCKET}",
)

Entry = tuple[bytes, ...]
Chance = random.Random

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_TRACES = (
    *[TRACEPARENT] * 4, f"cc{TRACEPARENT[2:]}", f"cc{TRACEPARENT[2:]}-more", f"cc{TRACEPARENT[2:]}x",
    f"ff{TRACEPARENT[2:]}", f"{TRACEPARENT}-more", f"{TRACEPARENT}-", TRACEPARENT.replace("b7", ""), "", "\0",
    TRACEPARENT.replace("-", "_"), f"00-{'0' * 32}{TRACEPARENT[35:]}", f"{TRACEPARENT[:36]}{'0' * 16}-01",
    f"{TRACEPARENT[:-1]}g", f"{TRACEPARENT[:-1]}\u0661",
)  # fmt: skip

_NUMBERS = (
    "0", "-0", "0.0", "0e9", "0e999999999999", "-1", "1e999", "1e999999", "1e-999999", "1e" + "9" * 400,
    "NaN", "sNaN", "-Infinity", "Infinity", "inf", "1_000", "1__0", "_1", " 1", "1 ", "1\n", "1\r", "0x10",
    "0b1", "1,5", "1.000,5", "", ".", "+", "-", "e5", "1e", "1e+", ".5", "5.", "+5", "--1", "+-1", "1.2.3",
    "1e1.5", "1E3", "007.50", "1/2", "true", "null", "\u0661\u0662", "\uff11", "\u00bd", "\u2167", "1\u00a0",
    "\u22121", "1\u200b", "5e-05", "1e-30", "1e-31", "1e19", "1e20", "0.30000000000000004",
    "34727465.10480124", "100", "100.0", "1e2", "100." + "0" * 40 + "1", "101", "9" * 20, "9" * 21,
    "9" * 4301, "0." + "9" * 30, "0." + "9" * 31, "0" * 5000 + "1", "1" + "0" * 5000 + "e-5000",
)  # fmt: skip
_TEXTS = (
    "", " ", "\t", "x" * 33, "x" * 129, "x" * 4096, "A\r\nB", 'x\n{"level": "error"}', "\x1b[31m",
    "'; DROP TABLE orders;--", "%s{0}", "${jndi:x}", "../..", "\N{ROCKET}\u200d\N{ROCKET}", "e\u0301" * 9,
    "\u202eREVERSED", "\ufeff", "\ufffe", "\u0000", "a\0b", "\U0010ffff", "\u017fell", "BUY", "buy", "bUy",
    "SELL", "HOLD", "order", "ORDER", "-", ".", "5-1", "\u0130", "\u212a", "\ud800", "\udfff\ud800", "1-1",
    "0-0", "trade", TRACEPARENT, TRACEPARENT.replace("a", "A"), TRACEPARENT.replace("00-", "01-", 1),
)  # fmt: skip
_LITERALS = (
    "null", "true", "false", "[]", "{}", "[1]", '{"a":1}', '{"a":1,"a":2}', "NaN", "Infinity", "-Infinity",
    "1e999999", "01", "1.", ".1", "+1", "-", "1" * 5000, "1.50", "-0", "0.1e-3", "1E400", "'x'", '"\\ud800"',
    '"\\u0000"', '"\\x"', '"\x01"', "undefined", "[" * 40 + "]" * 40, "[" * 31 + "]" * 31, "[" * 3000,
    '{"a":' * 50 + "1" + "}" * 50, "[[[]],[[]]]",
)  # fmt: skip
_BYTES = (
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xf4\x90\x80\x80",
    b"\0",
    b"\xef\xbb\xbf",
    b'"',
    b"\\",
    b"[",
    b"}",
)


def entry(chance: Chance, number: int, ids: int = 10**9) -> Entry:
    """Draw one entry. Most of one id say the same, so that there are duplicates and conflicts among them."""
    of = chance.randrange(ids) if ids < 10**9 else number
    content = {**SAMPLES[of % len(SAMPLES)], "order_id": f"order-{of}"}
    if chance.random() < 0.1:
        del content["order_id"]
    for _ in range(chance.choice((0, 0, 0, 1, 1, 2, 4))):
        content = _altered(chance, content)
    if chance.random() < 0.3:
        content["traceparent"] = chance.choice(_TRACES)
    made = flat(content) if chance.random() < 0.5 else _payload(chance, content)
    for _ in range(chance.choice((0, 0, 0, 0, 1, 1, 2))):
        made = chance.choice(_SHAPES)(chance, made)
    for _ in range(chance.choice((0, 0, 0, 0, 1, 3))):
        made = _with_altered_bytes(chance, made)
    return made or (b"", b"")


def amount(chance: Chance) -> str:
    """Draw what may be an amount: near the limits of what is kept, or well beyond them."""
    if chance.random() < 0.3:
        return chance.choice(_NUMBERS)
    whole = _digits(chance, chance.choice((0, 1, 1, 3, 8, 19, 20, 21)))
    fraction = _digits(chance, chance.choice((0, 1, 2, 8, 29, 30, 31)))
    sign = chance.choice(("", "", "", "", "+", "-"))
    exponent = f"{chance.choice('eE')}{chance.randint(-60, 60):{chance.choice(('', '+', '03'))}}"
    point = "." if fraction or chance.random() < 0.1 else ""
    return f"{sign}{whole}{point}{fraction}{exponent if chance.random() < 0.4 else ''}"


def text(chance: Chance) -> str:
    """Draw a text, of any characters."""
    if chance.random() < 0.6:
        return chance.choice(_TEXTS)
    top = chance.choice((0x7F, 0x7FF, 0xFFFF, 0x10FFFF))
    return "".join(chr(chance.randint(0, top)) for _ in range(chance.choice((1, 2, 8, 30))))


def flat(content: dict[str, str]) -> Entry:
    """Return the flat form; half a surrogate pair becomes the bytes it has in broken encoders."""
    return tuple(_raw(part) for pair in content.items() for part in pair)


def _raw(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _digits(chance: Chance, count: int) -> str:
    return "".join(chance.choices("0123456789" if chance.random() < 0.8 else "009", k=count))


def _altered(chance: Chance, content: dict[str, str]) -> dict[str, str]:
    name = chance.choice(FIELDS)
    if chance.random() < 0.15:
        return {key: value for key, value in content.items() if key != name}
    if name in {"quantity", "price", "stop_loss_pct"} or chance.random() < 0.2:
        return {**content, name: amount(chance)}
    if chance.random() < 0.05:
        return {**content, chance.choice(NAMES): text(chance)}
    return {**content, name: text(chance)}


def _payload(chance: Chance, content: dict[str, str]) -> Entry:
    pairs = [f"{json.dumps(name)}:{_literal(chance, value)}" for name, value in content.items()]
    if chance.random() < 0.15:
        pairs.append(f"{json.dumps(chance.choice(NAMES))}:{chance.choice(_LITERALS)}")
    if chance.random() < 0.1:
        at = chance.randrange(len(pairs)) if pairs else 0
        pairs[at:at] = [f"{json.dumps(chance.choice(FIELDS))}:{chance.choice(_LITERALS)}"]
    chance.shuffle(pairs)
    space = chance.choice(("", "", " ", "\r\n\t", " " * 50))
    return (chance.choice((b"payload", b"data")), _raw(f"{space}{{{space}{f',{space}'.join(pairs)}}}{space}"))


def _literal(chance: Chance, value: str) -> str:
    if value[:1] in "-0123456789" and value and chance.random() < 0.4:
        return value
    return chance.choice((json.dumps(value), json.dumps(value, ensure_ascii=False)))


def _repeated(chance: Chance, made: Entry) -> Entry:
    at = 2 * chance.randrange(len(made) // 2) if made else 0
    return made + made[at : at + 2]


def _named_otherwise(chance: Chance, made: Entry) -> Entry:
    at = 2 * chance.randrange(len(made) // 2) if made else 0
    return (*made[:at], chance.choice(NAMES).encode(), *made[at + 1 :])


def _with_another(chance: Chance, made: Entry) -> Entry:
    name = chance.choice(NAMES)
    value = _raw(chance.choice((amount, text))(chance))
    return (*made, name.encode(), value)


def _replaying(chance: Chance, made: Entry) -> Entry:
    told = chance.choice(
        (b"", b"1-1", b"0-0", b"99999999999999-0", b"x" * 300, b"a\0", b"\xff", _raw(text(chance)))
    )
    return (*made, b"replay_of", told)


def _traced(chance: Chance, made: Entry) -> Entry:
    return (*made, b"traceparent", chance.choice((_raw(chance.choice(_TRACES)), chance.choice(_BYTES))))


def _carried(chance: Chance, made: Entry) -> Entry:
    inside = {
        name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in _pairs(made)
    }
    return (*made, chance.choice((b"payload", b"data")), json.dumps(inside).encode())


def _overlong(chance: Chance, made: Entry) -> Entry:
    room = LIMIT - sum(map(len, made)) - len(b"reasons")
    length = chance.choice((room, room + 1, room - 1, 300, 70_000))
    return (*made, b"reasons", chance.choice((b"x", b"\xff", b"[", b'"', b"9")) * length)


def _crowded(chance: Chance, made: Entry) -> Entry:
    more = chance.choice((64, 65, 63)) - len(made) // 2
    return made + tuple(part for n in range(max(0, more)) for part in (f"f{n}".encode(), b""))


def _nested(chance: Chance, made: Entry) -> Entry:
    depth = chance.choice((31, 32, 33, 900, 20_000))
    opening, closing = chance.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"[[],", b"]")))
    inside = opening * depth + (b"1" + closing * depth if chance.random() < 0.7 else b"")
    return tuple(part[:-1] + b',"x":' + inside + b"}" if part.endswith(b"}") else part for part in made)


def _shuffled(chance: Chance, made: Entry) -> Entry:
    pairs = _pairs(made)
    chance.shuffle(pairs)
    return tuple(part for pair in pairs for part in pair)


def _pairs(made: Entry) -> list[tuple[bytes, bytes]]:
    return list(zip(made[::2], made[1::2], strict=True))


_SHAPES: Sequence[Callable[[Chance, Entry], Entry]] = (
    _repeated, _named_otherwise, _with_another, _replaying, _traced, _carried, _overlong, _crowded, _nested,
    _shuffled,
)  # fmt: skip


def _with_altered_bytes(chance: Chance, made: Entry) -> Entry:
    if not made:
        return made
    at = chance.randrange(len(made))
    return (*made[:at], altered(chance, made[at]), *made[at + 1 :])


def altered(chance: Chance, raw: bytes) -> bytes:
    """Flip a bit, cut, repeat, drop or put something in."""
    at, to = sorted(chance.randint(0, len(raw)) for _ in range(2))
    match chance.randrange(6):
        case 0 if raw:
            place = min(at, len(raw) - 1)
            return raw[:place] + bytes([raw[place] ^ (1 << chance.randrange(8))]) + raw[place + 1 :]
        case 1:
            return raw[:at]
        case 2:
            return raw[:at] + raw[to:]
        case 3:
            return raw[:to] + raw[at:]
        case 4:
            return raw[:at] + chance.choice(_BYTES) + raw[at:]
        case _:
            return raw[:at] + chance.randbytes(chance.choice((1, 2, 8))) + raw[at:]
