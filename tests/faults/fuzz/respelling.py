"""The same order in other words: other wire form, other order of fields, other spellings of equal amounts."""

import json
from decimal import Decimal

from tests.faults.fuzz.entries import Chance, Entry
from tests.faults.fuzz.reference import LABELS, Expected

AMOUNTS = ("quantity", "price", "stop_loss_pct")
TELLING = ("strategy_id", "bot_id", "client_id")
NOT_IN_FINGERPRINT = frozenset(LABELS) - {*TELLING}


def content_of(order: Expected) -> dict[str, str] | None:
    """Return what a sound order says, None if it is not sound: junk can't be said in other words."""
    if not order.sound or order.dropped or order.symbol is None or order.side is None:
        return None
    said = {"symbol": order.symbol, "side": order.side, "order_id": order.order_id}
    said |= {name: f"{value:f}" for name in AMOUNTS if (value := getattr(order, name)) is not None}
    said |= {name: value for name, value in order.labels.items() if value is not None}
    return said


def said_again(chance: Chance, content: dict[str, str]) -> Entry:
    """Return the order in other words, stamped anew."""
    again = {
        name: spelled(chance, Decimal(value)) if name in AMOUNTS else value for name, value in content.items()
    }
    again |= {name: f"again {chance.random()}" for name in NOT_IN_FINGERPRINT if chance.random() < 0.5}
    again["side"] = chance.choice((str.lower, str.upper, str.title))(again["side"])
    again |= {"unheard_of": "x"} if chance.random() < 0.5 else {}
    pairs = list(again.items())
    chance.shuffle(pairs)
    if chance.random() < 0.5:
        return (chance.choice((b"payload", b"data")), json.dumps(dict(pairs)).encode())
    return tuple(part.encode() for pair in pairs for part in pair)


def spelled(chance: Chance, value: Decimal) -> str:
    """Return another spelling of a decimal that is not negative: the point moved, noughts put on."""
    _, digits, places = value.as_tuple()
    assert isinstance(places, int)
    figures = "".join(map(str, digits)) + "0" * chance.choice((0, 0, 3, 40))
    places -= len(figures) - len(digits)
    point = chance.randint(-5, len(figures) + 5)
    if point <= 0:
        moved = "." + "0" * -point + figures
    elif point >= len(figures):
        moved = figures + "0" * (point - len(figures)) + chance.choice(("", "."))
    else:
        moved = f"{figures[:point]}.{figures[point:]}"
    exponent = places + len(figures) - point
    mark = chance.choice("eE")
    power = f"{mark}{exponent:{chance.choice(('', '+', '05'))}}" if exponent or chance.random() < 0.3 else ""
    return f"{chance.choice(('', '+'))}{chance.choice(('', '0', '000'))}{moved}{power}"
