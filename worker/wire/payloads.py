"""The other wire form: one JSON object in a field."""

import json
import re
from collections.abc import Callable
from typing import NoReturn

from worker.domain.orders import DeadReason
from worker.wire.fields import Fraction, Whole

_JSON_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


class RepeatedKey(ValueError):
    """An object says one key twice: a parser would keep the last of two quantities without a word."""

    def __init__(self) -> None:
        super().__init__("a key stands in it twice")


class NoNumber(ValueError):
    """A text that parsers take for a number of JSON, and which is none."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is no number in JSON")
        self.name = name


class Refused(Exception):
    """What an entry can't be understood for, and the reason of its dead letter."""

    def __init__(self, reason: DeadReason, error: str) -> None:
        super().__init__(error)
        self.reason = reason
        self.error = error


def parsed(raw: bytes, *, fraction: Callable[[str], str] = str, whole: Callable[[str], str] = str) -> object:
    """Return what a JSON text says, numbers as text: integers as `whole`, others as `fraction` makes them.

    Raises RepeatedKey, NoNumber, UnicodeDecodeError, ValueError where it is no JSON, RecursionError where it
    is too deep.
    """
    # Numbers stay text: a float would round an amount, an int of 5,000 digits would raise.
    value: object = json.loads(
        raw.decode(),
        object_pairs_hook=_without_repeats,
        parse_float=fraction,
        parse_int=whole,
        parse_constant=_no_number,
    )
    return value


def json_object(raw: bytes, max_depth: int) -> dict[str, object]:
    """Return the object, its numbers as text. Raises Refused."""
    # Before it is parsed: the parser recurses, and so does whatever handles what it returns.
    if _deeper_than(max_depth, raw):
        raise Refused(DeadReason.UNDECODABLE, "the payload is nested too deeply")
    try:
        value = parsed(raw, fraction=Fraction, whole=Whole)
    except RepeatedKey:
        raise Refused(DeadReason.UNDECODABLE, "a key stands in the payload twice") from None
    except NoNumber as no_number:
        raise Refused(DeadReason.UNDECODABLE, f"{no_number.name} in the payload") from None
    except UnicodeDecodeError:
        raise Refused(DeadReason.UNDECODABLE, "the payload is not UTF-8") from None
    except ValueError:
        raise Refused(DeadReason.UNDECODABLE, "the payload is not JSON") from None
    if not isinstance(value, dict):
        raise Refused(DeadReason.UNDECODABLE, "the payload is not a JSON object")
    return value


def _deeper_than(depth: int, raw: bytes) -> bool:
    """Whether brackets stand within brackets deeper than this.

    Never recurses, and takes a time linear in the size at any depth.
    """
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
        raise RepeatedKey
    return found


def _no_number(name: str) -> NoReturn:
    raise NoNumber(name)


def raw_text(value: object) -> str:
    """Return the JSON of what a payload said, its keys sorted and its numbers as they were spelled."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {raw_text(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(raw_text, value)) + "]"
    return value if isinstance(value, Whole | Fraction) else json.dumps(value)


def refuse_unstorable(key: str, value: str) -> None:
    """Raise Refused where a text can't be stored or sent."""
    if "\0" in value:
        raise Refused(DeadReason.UNDECODABLE, f"NUL in {key}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refused(DeadReason.UNDECODABLE, f"half a surrogate pair in {key}") from None
