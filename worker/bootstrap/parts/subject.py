"""Finds out what is asked about: an order, its row, and the entry that brought it."""

from typing import TypeAlias

from msgspec import Struct

from worker import wire
from worker.bootstrap.parts.witnesses import Witnesses
from worker.domain.deliveries import Delivery, is_entry_id
from worker.domain.orders import Order, OrderRecord, Undecodable, UnsoundOrder
from worker.source.unsourced import answers_for
from worker.status.story import MOST_SEARCHED
from worker.store import OrderRow
from worker.stream import Found

Decoded: TypeAlias = Order | UnsoundOrder | Undecodable


class Subject(Struct, frozen=True):
    """What is asked about: an order, its row, the entry that is meant, and what that holds, if it is there.

    `another` is what stands under the id of the row's entry where that is not the row's order.
    """

    order_id: str | None
    entry_id: str | None
    entry: Found | None
    decoded: Decoded | None
    row: OrderRow | None
    another: str | None = None

    @property
    def is_owner(self) -> bool:
        """Whether its row is of its entry."""
        return self.row is None or self.entry_id in {None, self.row.record.entry_id}


class Subjects:
    """Finds subjects. Raises Outage, and Refused where a row can't be read."""

    def __init__(self, witnesses: Witnesses) -> None:
        self._ask = witnesses

    def find(self, identifier: str) -> Subject:
        """Return what an order id or an entry id means."""
        named = self.named_by(identifier)
        row = self._ask.store.row(identifier)
        entry = self._ask.trail.order(named) if named else None
        if row is None and entry is None:
            entry = self._ask.trail.latest_order(
                lambda each: self.holds(each, identifier), most=MOST_SEARCHED
            )
        order_id: str | None = identifier
        if entry is not None and row is None:
            # An entry that does not own the row of its order: a duplicate, a conflict, or not executed yet.
            order_id = self.decoded(entry).order_id or identifier
            row = self._ask.store.row(order_id)
        entry_id = entry.entry_id if entry else named
        if row is not None and (named is None or row.record.order_id == identifier):
            # Whoever fills the table by hand may have named anything.
            entry_id = row.record.entry_id if is_entry_id(row.record.entry_id) else None
            entry = self._ask.trail.order(entry_id) if entry_id else None
        if row is not None:
            order_id = row.record.order_id
        decoded = None if entry is None else self.decoded(entry)
        if row is not None and decoded is not None and row.record.entry_id == entry_id:
            another = self._another(row.record, decoded)
            if another:
                return Subject(order_id, entry_id, None, None, row, another)
        return Subject(order_id, entry_id, entry, decoded, row)

    def named_by(self, identifier: str) -> str | None:
        """Return the entry of our stream that an id names; one that was derived elsewhere names none."""
        named = wire.entry_named_by(identifier)
        if named is None or named == identifier:
            return named
        return named if self._ask.decoder.gives(identifier, named) else None

    def _another(self, row: OrderRecord, decoded: Decoded) -> str | None:
        """Return the order in the entry of a row's id, if it is another: somebody has deleted the stream."""
        if isinstance(decoded, Undecodable) and decoded.rules_out(row):
            return "no order"
        if decoded.order_id in {None, row.order_id}:
            return None
        if row.unsourced and answers_for(row, decoded, self._ask.decoder, alone=self._ask.rows.alone):
            return None
        return decoded.order_id

    def holds(self, entry: Found, order_id: str) -> bool:
        """Whether an entry brings an order: decoded only where the id may stand in it, spelled or escaped."""
        wanted = order_id.encode()
        may = order_id.endswith(entry.entry_id) or any(
            wanted in each or b"\\" in each for each in entry.fields
        )
        return may and self.decoded(entry).order_id == order_id

    def decoded(self, entry: Found) -> Decoded:
        """Return what an entry holds."""
        return self._ask.decoder.decode(Delivery(entry.entry_id, entry.fields, 1, True))
