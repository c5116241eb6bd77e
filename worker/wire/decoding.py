"""From the raw fields of an entry to an order: the fast way where that is enough, else the careful one."""

from collections.abc import Callable, Mapping

from worker.domain.decimals import STORED, Digits
from worker.domain.deliveries import Delivery
from worker.wire import names
from worker.wire.careful import CarefulReader, Decoded
from worker.wire.flat import FlatReader
from worker.wire.nearly import NearNames

MAX_DEPTH = 32


class Decoder:
    """Turns deliveries into orders; what it can't understand it returns as Undecodable, it never raises.

    `careful` reads every entry; `flat` is tried first, and reads most of them faster.
    """

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
        self._names = names.field_names(order_id_field)
        nearly = NearNames(self._names, warn)
        self.flat = FlatReader(
            source, self._names, nearly, digits, max_bytes=max_bytes, max_fields=max_fields
        )
        self.careful = CarefulReader(
            source,
            self._names,
            nearly,
            digits,
            max_bytes=max_bytes,
            max_fields=max_fields,
            max_depth=max_depth,
        )

    @property
    def carriers(self) -> frozenset[bytes]:
        """The fields that carry a payload."""
        return self._names.carriers

    @property
    def unknown_fields(self) -> int:
        """How many fields were ignored because no order has them."""
        return self.flat.unknown_fields + self.careful.unknown_fields

    @property
    def dropped_labels(self) -> int:
        """How many labels were dropped because they are no text."""
        return self.careful.dropped_labels

    @property
    def malformed_traceparents(self) -> int:
        """How many traceparents were ignored because they are malformed: the traces of these begin anew."""
        return self.flat.malformed_traceparents + self.careful.malformed_traceparents

    def decode(self, delivery: Delivery) -> Decoded:
        """Return the order, sound or not, or why the entry is none."""
        return self.flat.read(delivery) or self.careful.read(delivery)

    def parts(self, delivery: Delivery) -> dict[str, str | None] | None:
        """Return what tells an entry's order from others of its id, by name; None where it is no order."""
        return self.careful.parts(delivery)

    @property
    def renamed(self) -> bool:
        """Whether the version before, which named orders after the stream, would have another source."""
        return self._source != self._source_before

    def called_before(self, order_id: str, entry_id: str) -> str:
        """Return what the version before called an entry's order: another id where that was derived."""
        return self.called_by(self._source_before, order_id, entry_id)

    def gives(self, order_id: str, entry_id: str) -> bool:
        """Whether an entry of our stream that says no id has this one, now or in the version before."""
        return order_id in {
            names.derived_order_id(each, entry_id) for each in (self._source, self._source_before)
        }

    def called_by(self, source: str, order_id: str, entry_id: str) -> str:
        """Return what the order of an entry would be called if its stream were another source."""
        derived = order_id == names.derived_order_id(self._source, entry_id)
        return names.derived_order_id(source, entry_id) if derived else order_id
