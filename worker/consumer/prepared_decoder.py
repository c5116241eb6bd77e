"""What is decoded once: perhaps before the loop comes to it, and not again however often it is tried."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeAlias

from worker.domain.deliveries import Delivery
from worker.domain.orders import Order, Undecodable, UnsoundOrder
from worker.domain.ports import Decoder

Decoded: TypeAlias = Order | UnsoundOrder | Undecodable


class PreparedDecoder:
    """A decoder that may have decoded a batch before it is asked for.

    `look` is called with each delivery's order once.
    """

    def __init__(self, decoder: Decoder, look: Callable[[Decoded], None] = lambda _: None) -> None:
        self._decoder = decoder
        self._look = look
        self._decoded: dict[str, tuple[Sequence[bytes], Decoded]] = {}

    def prepare(self, deliveries: Sequence[Delivery]) -> None:
        """Decode these now."""
        for each in deliveries:
            self._decode(each)

    def decode(self, delivery: Delivery) -> Decoded:
        """Return the order in an entry, or why there is none; never raises."""
        fields, decoded = self._decoded.get(delivery.entry_id, (None, None))
        # A Redis that lost its data may give an id out again.
        return self._decode(delivery) if decoded is None or fields is not delivery.fields else decoded

    def forget(self, entry_ids: Iterable[str]) -> None:
        """Let go of deliveries that have an outcome, or are left to others."""
        for each in entry_ids:
            self._decoded.pop(each, None)

    def keep(self, entry_ids: Collection[str]) -> None:
        """Let go of all but these."""
        if len(self._decoded) > len(entry_ids):
            self._decoded = {each: self._decoded[each] for each in self._decoded.keys() & entry_ids}

    @property
    def renamed(self) -> bool:
        """Whether the source is another than the version before would have it."""
        return self._decoder.renamed

    def called_before(self, order_id: str, entry_id: str) -> str:
        """Return what the version before called the order of an entry."""
        return self._decoder.called_before(order_id, entry_id)

    def called_by(self, source: str, order_id: str, entry_id: str) -> str:
        """Return what the order of an entry would be called if its stream were another source."""
        return self._decoder.called_by(source, order_id, entry_id)

    def _decode(self, delivery: Delivery) -> Decoded:
        decoded = self._decoder.decode(delivery)
        self._decoded[delivery.entry_id] = delivery.fields, decoded
        self._look(decoded)
        return decoded
