"""What people are not shown: the values of fields that are hidden by name, wherever they stand."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from worker.domain.decimals import plain
from worker.domain.orders import OrderFields
from worker.domain.texts import HIDDEN
from worker.wire.fields import Fraction, Whole
from worker.wire.letters import shown
from worker.wire.names import DECISIVE, LABELS, PAYLOAD_FIELDS
from worker.wire.payloads import parsed

UNREADABLE = "(hidden: can't be looked through)"
# A shorter value stands in a text by chance: it is taken for the value as a word of its own alone.
SHORT = 4

# Nothing but what is spelled as it is read, so that a name which is in it is found.
_PLAIN = re.compile(r"[\t\n\r -\[\]-~]*", re.ASCII)


class Hiding:
    """Knows the names of hidden fields; their case is ignored. It shows all where there are none.

    What it can't look through, such as a payload that is no JSON, it hides as a whole, unless that is plain
    text without one of the names.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(name.casefold() for name in names)

    @property
    def names(self) -> frozenset[str]:
        """The names, whatever their case was, in small letters."""
        return self._names

    def __bool__(self) -> bool:
        """Whether anything is hidden."""
        return bool(self._names)

    def hides(self, name: str) -> bool:
        """Whether the value of this field is hidden."""
        return name.casefold() in self._names

    def value(self, name: str, value: bytes | str) -> str:
        """Return the value of a field as it may be shown; in JSON the values of hidden keys are hidden."""
        text = shown(value) if isinstance(value, bytes) else value
        if not self._names:
            return text
        if self.hides(name):
            return HIDDEN
        return self._looked_through(text) if name in PAYLOAD_FIELDS or _is_like_json(text) else text

    def message(self, raw: bytes, most: int) -> str:
        """Return the beginning of an order in JSON, as a channel has it, as it may be shown."""
        return self._looked_through(shown(raw))[:most] if self._names else shown(raw[:most])

    def head(self, raw: bytes | str) -> str:
        """Return the first bytes of an entry as they may be shown: names and values can't be told apart."""
        return UNREADABLE if self._names else shown(raw) if isinstance(raw, bytes) else raw

    def told(self, text: str, fields: Sequence[bytes] = (), order: OrderFields | None = None) -> str:
        """Return what was said of an entry, such as an error, with hidden values that it quotes hidden.

        It is found where it is quoted word for word, at the end of a text that was cut also in part.
        """
        if not self._names or not text:
            return text
        pairs = zip(fields[::2], fields[1::2], strict=True)
        secrets = {secret for name, value in pairs for secret in self._secrets(shown(name), shown(value))}
        if order is not None:
            secrets |= {said for name, said in _said_by(order) if self.hides(name)}
        return _without(text, secrets)

    def quoting(self, text: str, said: Mapping[str, object]) -> str:
        """Return what was said of a row, with hidden values of its columns hidden likewise."""
        return _without(text, {str(value) for name, value in said.items() if self.hides(name)})

    def _looked_through(self, text: str) -> str:
        try:
            found = parsed(text.encode(), fraction=Fraction, whole=Whole)
            changed = self._without_hidden(found)
            return text if changed == found else _json(changed)
        except (ValueError, RecursionError):
            return text if self._is_plainly_free(text) else UNREADABLE

    def _is_plainly_free(self, text: str) -> bool:
        folded = text.casefold()
        return _PLAIN.fullmatch(text) is not None and not any(name in folded for name in self._names)

    def _without_hidden(self, value: object) -> object:
        if isinstance(value, dict):
            return {
                key: HIDDEN if self.hides(key) else self._without_hidden(inner)
                for key, inner in value.items()
            }
        if isinstance(value, list):
            return [self._without_hidden(inner) for inner in value]
        if isinstance(value, str) and not isinstance(value, Whole | Fraction) and _is_like_json(value):
            return self._looked_through(value)
        return value

    def _secrets(self, name: str, value: str) -> Iterator[str]:
        if self.hides(name):
            yield value
        elif name in PAYLOAD_FIELDS or _is_like_json(value):
            try:
                yield from self._secrets_within(parsed(value.encode()), hidden=False)
            except (ValueError, RecursionError):
                return

    def _secrets_within(self, value: object, *, hidden: bool) -> Iterator[str]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from self._secrets_within(inner, hidden=hidden or self.hides(key))
        elif isinstance(value, list):
            for inner in value:
                yield from self._secrets_within(inner, hidden=hidden)
        elif isinstance(value, str) and hidden:
            yield value
        elif isinstance(value, str) and _is_like_json(value):
            yield from self._secrets("", value)


NOTHING_HIDDEN = Hiding()


def _is_like_json(text: str) -> bool:
    return text.lstrip()[:1] in {"{", "[", '"'}


def _said_by(order: OrderFields) -> Iterator[tuple[str, str]]:
    """Yield what an order says under its fields' names, amounts in each spelling that programs give them."""
    for name, value in (
        *((name, getattr(order, name)) for name in DECISIVE),
        *((name, getattr(order.labels, name)) for name in LABELS),
    ):
        if value is not None:
            yield name, str(value)
            if not isinstance(value, str):
                yield name, plain(value)


def _without(text: str, secrets: Iterable[str]) -> str:
    # The longest first: a short one may be a part of it.
    for secret in sorted({each.strip() for each in secrets} - {""}, key=len, reverse=True):
        if len(secret) < SHORT:
            if secret not in text:
                continue
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, text)
            continue
        text = text.replace(secret, HIDDEN)
        longest = min(len(secret) - 1, len(text))
        begun = next((n for n in range(longest, SHORT - 1, -1) if text.endswith(secret[:n])), 0)
        if begun:
            text = text[:-begun] + HIDDEN
    return text


def _json(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_json(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    return str(value) if isinstance(value, Whole | Fraction) else json.dumps(value)
