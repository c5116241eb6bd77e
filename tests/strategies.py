"""Entries of every class, drawn at random, each with the response that the contract promises it."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from hypothesis import strategies as st

from worker.domain.orders import Labels

# Stands for an order id that the test chooses; no order id may hold it.
ID = "@ORDER-ID@"

Content = Mapping[str, object]


class Case(NamedTuple):
    """One entry and what it gets: executed, rejected, or the reason of its dead letter.

    `content` is what an intelligible entry says, to say it again in other words.
    """

    response: str
    fields: tuple[bytes, ...]
    content: Content | None = None

    def __repr__(self) -> str:
        shown = ", ".join(repr(part[:200]) for part in self.fields[:40])
        return f"{self.response}: {shown}"

    def named(self, order_id: str) -> tuple[bytes, ...]:
        """Return raw fields for an order id as long as its stand-in: the size of an entry decides, too."""
        assert len(order_id) == len(ID)
        return tuple(part.replace(ID.encode(), order_id.encode()) for part in self.fields)

    def said_again(self, **changes: str) -> "Case":
        """Return the same order in the other wire form, its keys in another order, and stamped anew."""
        assert self.content is not None
        again = {**self.content, "timestamp": "said again", **changes}
        backwards = {name: again[name] for name in reversed(again)}
        return self._replace(fields=payload(backwards))


def flat(content: Content) -> tuple[bytes, ...]:
    """Return the flat form; every value has to be text."""
    return tuple(str(part).encode() for pair in content.items() for part in pair)


def payload(content: Content, name: str = "payload") -> tuple[bytes, ...]:
    """Return the JSON form."""
    return (name.encode(), json.dumps(content).encode())


def _flat_or_payload(content: Content) -> st.SearchStrategy[tuple[bytes, ...]]:
    forms = [payload(content), payload(content, "data")]
    if all(isinstance(value, str) for value in content.values()):
        forms.append(flat(content))
    return st.sampled_from(forms)


texts = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60
) | st.sampled_from(
    [
        'emoji \N{ROCKET} "quoted"\r\n\x1b[31m',
        "%s{0}${jndi:x}",
        'x\n{"level": "error", "event": "forged"}',
        "x" * 4096,
        "32503680000",
        "1700000000000",
        "2026-01-01T00:00:00Z",
    ]
)  # fmt: skip


@st.composite
def _amounts(draw: st.DrawFn, *, below: int = 10**20) -> str:
    """Draw one of the spellings of a number greater than zero that is kept exactly."""
    whole = draw(st.integers(0, below - 1) | st.integers(0, min(below - 1, 99)))
    fraction = draw(st.from_regex(r"[0-9]{0,30}", fullmatch=True))
    if not whole and not fraction.strip("0"):
        fraction = "5"
    plain = f"{whole}.{fraction}" if fraction else str(whole)
    moved = draw(st.integers(1, 25))
    return draw(
        st.sampled_from(
            [
                plain,
                f"00{plain}",
                f"+{plain}",
                f"{whole}.{fraction}" + "0" * 40,
                # The point moved to the left, and back again by the exponent.
                f"0.{str(whole).zfill(moved)}{fraction}e{max(moved, len(str(whole)))}",
                f"{whole}{fraction}E-{len(fraction)}",
            ]
        )
    )


amounts = _amounts()
symbols = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,31}", fullmatch=True)
_labels = dict.fromkeys(Labels.__struct_fields__, texts)
_contents: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "order_id": st.just(ID),
        "symbol": symbols,
        "side": st.sampled_from(["BUY", "SELL", "buy", "Sell"]),
        "quantity": amounts,
    },
    optional={
        "type": st.just("order"),
        "price": amounts,
        "stop_loss_pct": _amounts(below=100) | st.sampled_from(["0", "-0", "100", "1e2"]),
        "unheard_of": texts,
        **_labels,
    },
)

_NO_NUMBERS = [
    "NaN", "sNaN", "Infinity", "-inf", "1e999", "1e999999", "1e" + "9" * 400, "1_000", " 1", "1 ", "1\n",
    "0x10", "1,5", "", "true", "\u0661", ".", "e5", "1e", "--1", "9" * 21, "9" * 5000, "0." + "1" * 31,
    "1e-31",
]  # fmt: skip
_NO_AMOUNTS = [*_NO_NUMBERS, "0", "-0", "0.000", "0e9", "-1", "-0.5"]
_NO_PERCENTAGES = [*_NO_NUMBERS, "-0.1", "100.0000000001", "101", "-1e-30"]
_JUNK = [True, False, [], [1], {}, {"a": "b"}, [[["x"]]]]
_FAULTS: dict[str, list[object]] = {
    "symbol": [
        "", " ", "'; DROP TABLE orders;--", "%s{0}", "${jndi:x}", 'A\r\n{"event": "forged"}', "A" * 33,
        "A" * 200, "-A", "\x1b[31m", "\N{ROCKET}",
    ],
    "side": ["", "HOLD", "B", "BUY ", "\N{LATIN SMALL LETTER LONG S}ell"],
    "quantity": [*_NO_AMOUNTS, *_JUNK],
    "price": [*_NO_AMOUNTS, *_JUNK],
    "stop_loss_pct": [*_NO_PERCENTAGES, *_JUNK],
}  # fmt: skip
_ABSENT = object()


@st.composite
def sound(draw: st.DrawFn) -> Case:
    """Draw an order that can be executed."""
    content = draw(_contents)
    return Case("executed", draw(_flat_or_payload(content)), content)


@st.composite
def unsound(draw: st.DrawFn) -> Case:
    """Draw an intelligible order that breaks one or more business rules."""
    content = draw(_contents)
    for name in draw(st.sets(st.sampled_from(sorted(_FAULTS)), min_size=1)):
        content[name] = draw(st.sampled_from(_FAULTS[name]))
        if name in {"symbol", "side", "quantity"} and draw(st.booleans()):
            del content[name]
    return Case("rejected", draw(_flat_or_payload(content)), content)


def _spoiled_ids() -> st.SearchStrategy[object]:
    outside = st.text(max_size=20).filter(lambda text: not text.isascii() or set(text) & set(" \n\0\x1b;{}"))
    usual = ["", " ", "x" * 129, "a b", "a\n", "a\0", "\x1b[31m", "é", True, ["a"], {"a": 1}, 1.5]
    return st.sampled_from(usual) | outside


@st.composite
def _unlike_an_order(draw: st.DrawFn) -> tuple[bytes, ...]:
    content = draw(_contents)
    label = draw(st.sampled_from(sorted(_labels)))
    spoiled: list[Content] = [
        {**content, "order_id": draw(_spoiled_ids())},
        {**content, "type": draw(st.sampled_from(["trade", "", "ORDER", "order ", True, [], 1]))},
        {**content, label: draw(st.sampled_from(["\0", "a\0b", "\ud800"]))},
        {**content, draw(st.sampled_from(["symbol", "side"])): draw(st.sampled_from([*_JUNK, 1.5]))},
        {"type": "order", "unheard_of": "x"},
    ]
    raw = flat({name: value for name, value in content.items() if name != label})
    bad_bytes = draw(st.sampled_from([b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"a\0"]))
    return draw(
        st.sampled_from([*map(payload, spoiled), (*raw, label.encode(), bad_bytes), (b"x", b"y"), (b"", b"")])
    )


@st.composite
def _no_json_object(draw: st.DrawFn) -> tuple[bytes, ...]:
    content = draw(_contents)
    text = json.dumps(content).encode()
    opening, closing = draw(st.sampled_from([(b"[", b"]"), (b"{", b"}"), (b'{"a":', b"}")]))
    # The deepest of the longest would be too large instead.
    deepest = 20_000 if len(opening) == 1 else 9000
    depth = draw(st.sampled_from([33, 34, 100, 990, 1000, 5000, deepest]))
    inside = text[:-1] + b', "x": '
    no_numbers = [b"NaN", b"Infinity", b"-Infinity", b"01", b"+1", b".5", b"1."]
    shapes = [
        text[: draw(st.integers(0, len(text) - 1))],
        b"null", b"true", b'"order"', b"12", b"[1]", b"{}", b"'x'", text + b"x", text + text,
        b"\xef\xbb\xbf" + text,
        inside + draw(st.sampled_from(no_numbers)) + b"}",
        inside + b'1, "x": 1}',
        inside + b'{"a": 1, "a": 1}}',
        inside + opening * (depth - 1) + closing * (depth - 1) + b"}",
        inside + opening * depth,
        inside + b'"\xff"}',
        inside + b'"a\nb"}',
        draw(st.binary(max_size=40).filter(lambda raw: not raw.strip().startswith(b"{"))),
    ]  # fmt: skip
    return (draw(st.sampled_from([b"payload", b"data"])), draw(st.sampled_from(shapes)))


@st.composite
def undecodable(draw: st.DrawFn) -> Case:
    """Draw what is not intelligible as an order."""
    return Case("undecodable", draw(_unlike_an_order() | _no_json_object()))


@st.composite
def ambiguous(draw: st.DrawFn) -> Case:
    """Draw what can be read in two ways."""
    content = draw(_contents)
    name = draw(st.sampled_from(sorted(content.keys() - {"order_id", "unheard_of"})))
    once = (name.encode(), str(content[name]).encode())
    shapes = [
        (*flat(content), *once),
        (*flat(content), b"x", b"1", b"x", b"1"),
        (*payload(content), *payload(content)),
        (*payload(content), *payload(content, "data")),
        (*payload(content), *once),
        (*payload(content), b"order_id", b"another"),
    ]
    return Case("ambiguous", draw(st.sampled_from(shapes)))


@st.composite
def too_large(draw: st.DrawFn) -> Case:
    """Draw an entry beyond the default limits, whatever else it is."""
    content = draw(_contents)
    length = draw(st.sampled_from([65_537, 70_000]))
    many = tuple(part for n in range(65) for part in (f"f{n}".encode(), b""))
    shapes = [
        flat({**content, "reason": "x" * length}),
        payload({**content, "reason": "x" * length}),
        (b"payload", b"[" * length),
        (*flat({name: value for name, value in content.items() if name == "symbol"}), *many),
        (b"\xff" * length, b""),
    ]
    return Case("too_large", draw(st.sampled_from(shapes)))


def cases() -> st.SearchStrategy[Case]:
    """Draw any of them."""
    return st.one_of(sound(), unsound(), undecodable(), ambiguous(), too_large())
