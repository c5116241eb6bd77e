"""Whose are the rows of before there were sources: they don't say it themselves."""

from collections.abc import Callable

from worker.domain.deliveries import Delivery
from worker.domain.orders import Order, OrderRecord, Undecodable, UnsoundOrder
from worker.domain.ports import Decoder


def answers_for(
    row: OrderRecord,
    order: Order | UnsoundOrder | Undecodable,
    decoder: Decoder,
    *,
    alone: Callable[[], bool],
) -> bool:
    """Whether a row without a source is that of our entry of its id, which holds an order.

    An entry that names no order, trimmed or not to be decoded, could be the row's whoever that belongs to: it
    is taken for ours where no other source was ever seen.
    """
    if order.order_id is None:
        return alone()
    return row.order_id in {order.order_id, decoder.called_before(order.order_id, row.entry_id)}


def is_ours(
    row: OrderRecord,
    fields: tuple[bytes, ...] | None,
    decoder: Decoder,
    *,
    alone: Callable[[], bool],
    claimed: bool = False,
) -> bool:
    """Whether a row is of our stream: `fields` are those of our entry of its id.

    Without that entry nobody can tell: a fleet of the version before, whose row it may be, is in no book. It
    is ours where a person has `claimed` such rows.
    """
    if not row.unsourced:
        return True
    if not fields:
        return claimed
    return answers_for(row, decoder.decode(Delivery(row.entry_id, fields, 0, False)), decoder, alone=alone)
