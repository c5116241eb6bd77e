"""What a row with an outcome means on the streams, and whether that is there."""

from msgspec.structs import replace

from worker.domain.deliveries import Delivery, Restoration, Settlement
from worker.domain.evidence import Fate
from worker.domain.orders import Order, OrderRecord, Status, Undecodable, UnsoundOrder
from worker.domain.ports import Decoder, Renderer


def settlement_of(
    row: OrderRecord, fields: tuple[bytes, ...], renderer: Renderer, decoder: Decoder
) -> Settlement:
    """Return what settles the entry of a row with an outcome.

    `fields` are those of the entry of its id, where there is one; they are left out where it is another's.
    """
    delivery = Delivery(row.entry_id, fields, 0, False)
    if fields and _is_anothers(row, decoder.decode(delivery)):
        delivery = Delivery(row.entry_id, (), 0, False)
    if row.status is not Status.DEAD:
        settlement = renderer.result(delivery, row)
    else:
        reason, error = row.given_up_for
        settlement = renderer.letter(delivery, reason=reason, error=error, order_id=row.order_id)
    return replace(settlement, stands_since_ms=row.stands_since_ms)


def _is_anothers(row: OrderRecord, held: Order | UnsoundOrder | Undecodable) -> bool:
    """Whether an entry of a row's id can't be the one that the row was written for."""
    if isinstance(held, Undecodable):
        return held.rules_out(row)
    if not row.unsourced and held.order_id != row.order_id:
        return True
    return isinstance(held, Order) and bool(row.fingerprint) and held.fingerprint != row.fingerprint


def restoration_of(settlement: Settlement, *, again: bool = False) -> Restoration:
    """Return what gives back what a settlement of a row gives out; `again`: though it counts as settled."""
    match settlement.action:
        case "publish" | "bury" as action:
            return Restoration(
                settlement.entry_id,
                action,
                settlement.fields,
                settlement.copy,
                settlement.stands_since_ms,
                settlement.mark,
                again,
            )
        case "ack" | "unknown":
            raise ValueError(f"{settlement.action} gives out nothing")


def is_settled(row: OrderRecord, fate: Fate) -> bool | None:
    """Whether the result of a row was published, or its entry buried; None where marks can't tell."""
    return fate.settled(row.stands_since_ms, buried=row.status is Status.DEAD)
