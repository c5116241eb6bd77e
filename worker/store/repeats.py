"""Orders that come again: a row must outlive each entry of its order that was acked for it."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from worker.domain.deliveries import entry_milliseconds, is_entry_id
from worker.domain.errors import Outage
from worker.domain.orders import OrderRecord
from worker.domain.pruning import LEAST_WINDOW_S, time_of
from worker.store import statements
from worker.store.fidelity import denied, not_updated
from worker.store.tables import one_of, orders

_LEAST_WINDOW = timedelta(seconds=LEAST_WINDOW_S)


class Vanished(Outage):
    """A row that was in the way is gone: it was pruned just now, and the order is a new one."""

    def __init__(self, order_id: str) -> None:
        super().__init__("postgresql", f"the row of order {order_id} was in the way, and is gone")


def note_repeated(connection: Connection, came: Iterable[tuple[OrderRecord, OrderRecord, datetime]]) -> None:
    """Note when orders came again whose rows may by then be old enough to be pruned.

    Given are what came, the row that stands for it, and when that was recorded. Else nothing would tell,
    while the entry is still there, what became of it. Raises Vanished where such a row was pruned meanwhile,
    AccessDenied where it is there and may not be changed.
    """
    late = {
        row.order_id
        for record, row, recorded_at in came
        if row.entry_id != record.entry_id and _is_late(record.entry_id, recorded_at)
    }
    if not late:
        return
    noted = set(connection.scalars(statements.note_repeated, {"repeated": sorted(late)}))
    if left := sorted(late - noted):
        there = connection.scalars(select(orders.c.order_id).where(one_of(orders.c.order_id, left))).first()
        raise Vanished(left[0]) if there is None else denied(connection, not_updated(there))


def _is_late(entry_id: str, recorded_at: datetime) -> bool:
    """Whether an entry was added so long after a row was recorded that this may go before the entry does."""
    return is_entry_id(entry_id) and time_of(entry_milliseconds(entry_id)) > recorded_at + _LEAST_WINDOW
