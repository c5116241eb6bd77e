"""What can be decoded before the loop comes to it."""

from collections.abc import Sequence

from worker.consumer.ports import Decoder
from worker.domain.deliveries import Delivery
from worker.domain.orders import Order, Undecodable, UnsoundOrder


class DecodesAhead:
    """A decoder that may have decoded a batch before it is asked for."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._decoded: dict[str, tuple[Sequence[bytes], Order | UnsoundOrder | Undecodable]] = {}

    def prepare(self, deliveries: Sequence[Delivery]) -> None:
        """Decode these now, and forget the ones before."""
        decode = self._decoder.decode
        self._decoded = {each.entry_id: (each.fields, decode(each)) for each in deliveries}

    def decode(self, delivery: Delivery) -> Order | UnsoundOrder | Undecodable:
        """Return the order in an entry, or why there is none; never raises."""
        fields, decoded = self._decoded.pop(delivery.entry_id, (None, None))
        # A Redis that lost its data may give an id out again.
        return self._decoder.decode(delivery) if decoded is None or fields is not delivery.fields else decoded

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
