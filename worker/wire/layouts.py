"""Where each field of a flat entry stands: producers send the same names in one order again and again."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import TypeAlias

from msgspec import Struct

from worker.domain.trace_context import TRACEPARENT
from worker.wire import names
from worker.wire.nearly import NearNames

Picked: TypeAlias = Callable[[Sequence[str | None]], tuple[str | None, ...]]

# A producer has as many as it has ways of leaving fields out. Those of more, or longer, names are found anew
# each time.
REMEMBERED = 64
LONGEST_REMEMBERED = 1024

# The place of a field that is not there: the None behind the values.
_NOWHERE = -1


class Layout(Struct, frozen=True):
    """The names of a flat entry, each there once: the places of their values, and what picks several.

    `unknown` of the `count` names are no field of an order. `size` is what they add to the size of their
    values where these are joined by one byte. `labels` picks those of an order, `fingerprinted` what its
    fingerprint is made of.
    """

    count: int
    unknown: int
    size: int
    type: int
    order_id: int
    replay_of: int
    traceparent: int
    symbol: int
    side: int
    quantity: int
    price: int
    stop_loss_pct: int
    labels: Picked
    fingerprinted: Picked

    def texts(self, values: Sequence[bytes], max_bytes: int) -> list[str | None] | None:
        """Return the values as text, and a None behind them.

        None where the entry is larger than that, or not all of it is text without NUL.
        """
        joined = b"\0".join(values)
        if self.size + len(joined) > max_bytes:
            return None
        try:
            texts: list[str | None] = [*joined.decode().split("\0"), None]
        except UnicodeDecodeError:
            return None
        return texts if len(texts) == self.count + 1 else None


class Layouts:
    """The layouts of entries by their names."""

    def __init__(self, field_names: names.FieldNames, most_fields: int, nearly: NearNames) -> None:
        self._names = field_names
        self._nearly = nearly
        self._most_fields = most_fields
        self._seen: dict[tuple[bytes, ...], Layout] = {}

    def of(self, entry: tuple[bytes, ...]) -> Layout | None:
        """Return the layout of an entry of these names.

        It is None where the entry is not flat, is ambiguous or too large, or is no order.
        """
        layout = self._seen.get(entry)
        if layout is None:
            layout = self._made(entry)
            if layout and layout.size <= LONGEST_REMEMBERED and len(self._seen) < REMEMBERED:
                self._seen[entry] = layout
        return layout

    def _made(self, entry: tuple[bytes, ...]) -> Layout | None:
        if len(entry) > self._most_fields or len(set(entry)) < len(entry):
            return None
        keys = self._names.keys
        places = {keys[name]: place for place, name in enumerate(entry) if name in keys}
        if self._names.business.isdisjoint(places) or not self._names.carriers.isdisjoint(entry):
            return None
        if len(places) < len(entry):
            self._nearly.look_at(entry)

        def place(name: str) -> int:
            return places.get(name, _NOWHERE)

        return Layout(
            count=len(entry),
            unknown=len(entry) - len(places),
            size=sum(map(len, entry)) - (len(entry) - 1),
            type=place("type"),
            order_id=place(self._names.identity(places)),
            replay_of=place(names.REPLAY_OF),
            traceparent=place(TRACEPARENT),
            **{name: place(name) for name in names.DECISIVE},
            labels=itemgetter(*map(place, names.LABELS)),
            fingerprinted=itemgetter(*map(place, names.FINGERPRINTED)),
        )
