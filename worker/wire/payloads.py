"""The other wire form: one JSON object in a field."""

import json
import re
from typing import NoReturn

from worker.wire.fields import Fraction

_JSON_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


class Refused(Exception):
    """What an entry can't be understood for, and the reason code of its dead letter."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason
        self.error = error


def json_object(raw: bytes, max_depth: int) -> dict[str, object]:
    """Return the object, its numbers as text. Raises Refused."""
    # Before it is parsed: the parser recurses, and so does whatever handles what it returns.
    if _deeper_than(max_depth, raw):
        raise Refused("undecodable", "the payload is nested too deeply")
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
        raise Refused("undecodable", "the payload is not UTF-8") from None
    except ValueError:
        raise Refused("undecodable", "the payload is not JSON") from None
    if not isinstance(value, dict):
        raise Refused("undecodable", "the payload is not a JSON object")
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
        raise Refused("undecodable", "a key stands in the payload twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise Refused("undecodable", f"{name} in the payload")


def refuse_unstorable(key: str, value: str) -> None:
    """Raise Refused where a text can't be stored or sent."""
    if "\0" in value:
        raise Refused("undecodable", f"NUL in {key}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refused("undecodable", f"half a surrogate pair in {key}") from None
