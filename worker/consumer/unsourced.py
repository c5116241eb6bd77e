"""Whose are the rows of before there were sources: they don't say it themselves."""

from worker.consumer.ports import Decoder
from worker.domain.deliveries import BEGINNING, Delivery, entry_order
from worker.domain.orders import OrderRecord


def is_ours(
    row: OrderRecord, fields: tuple[bytes, ...] | None, decoder: Decoder, *, first: str, alone: bool
) -> bool:
    """Whether a row is of our stream: `fields` are those of our entry of its id, `first` is the first entry that is there.

    Without that entry it is, if our stream has nothing of its time any more and no other source was ever seen.
    """
    if not row.unsourced:
        return True
    if fields:
        return decoder.decode(Delivery(row.entry_id, fields, 0, False)).order_id == row.order_id
    nothing_of_its_time = first == BEGINNING or entry_order(first) > entry_order(row.entry_id)
    return alone and nothing_of_its_time
