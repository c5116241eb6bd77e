"""What is checked while it happens, since nobody could tell at the end."""

from collections.abc import Iterable, Sequence
from typing import Any

from tests.faults.model.fleet import SimulatedFleet
from tests.faults.model.plan import LOSSES
from tests.faults.model.state import Replica, State
from worker import wire
from worker.domain.deliveries import Settlement
from worker.domain.orders import WITH_RESULT, Order, OrderRecord, Status
from worker.wire.names import derived_order_id

CHARGING = frozenset({"charge", "fetch"})
KEEPING = frozenset({"renew", "release"}) | CHARGING
# Reasons that need a DEAD row before the letter.
_BY_ROW = frozenset({"poison", "failed", "trimmed", "database_rejected"})


class Watch:
    """Looks at calls right before and right after their effect."""

    def __init__(self, state: State) -> None:
        self._state = state
        # Entries are those of a source.
        self._committed_at: dict[tuple[str, str], int] = {}
        self._claimed_at: dict[tuple[str, str], int] = {}
        self._holders: dict[str, str] = {}

    def before(self, replica: Replica, name: str, args: tuple[Any, ...]) -> None:
        """Check what a call is about to do."""
        if name in {"settle", "restore"}:
            for each in args[0]:
                self._settles(replica.fleet, each)
        elif name in KEEPING:
            self._holders = _held_by(replica, args[0])
        elif name == "ping":
            self._waits_uncharged(replica)
        elif name == "execute":
            self._executes(replica, args[0])

    def after(self, replica: Replica, name: str, args: tuple[Any, ...], result: Any) -> None:
        """Check what a call has done."""
        if name in {"record", "resolve"}:
            self._recorded(replica.fleet, args[0])
        elif name in {"read", "arrived"}:
            for delivery in result:
                self._claimed_at.pop((replica.name, delivery.entry_id), None)
        elif name in {"claim", "own_pending"}:
            # What it has in hand already it leaves there, whichever way that came.
            held = replica.worker.lease.held if replica.worker else frozenset()
            for delivery in result.deliveries if name == "claim" else result:
                if delivery.entry_id not in held:
                    self._claimed_at[replica.name, delivery.entry_id] = self._state.steps
        elif name in KEEPING:
            replica.charged = name in CHARGING
            for entry_id, holder in _held_by(replica, args[0]).items():
                if holder != self._holders.get(entry_id):
                    self._wrong(f"lease: {name} of {replica.name} takes {entry_id} from its owner")

    def left(self, replica: Replica) -> None:
        """I10, I11: who was drained holds nothing that others can't take at once."""
        state = self._state
        state.check_books(replica)
        if replica.worker is None or replica.troubled or state.struck.keys() & {*LOSSES, "clock back"}:
            return
        if replica.worker.tally.in_hand:
            self._wrong(f"I10: {replica.name} left with {replica.worker.tally.in_hand} in hand")
        claimable = state.clock.milliseconds() - state.plan.lease_s * 1000
        for entry_id, since_ms in state.held_by(replica).items():
            if since_ms > claimable:
                self._wrong(f"I11: {entry_id} is not claimable after {replica.name} was drained")

    def _wrong(self, what: str) -> None:
        self._state.violations.append(what)

    def _waits_uncharged(self, replica: Replica) -> None:
        """I8: what an outage stopped before it led to anything is charged to nobody during the outage."""
        worker, group = replica.worker, replica.group
        if not replica.charged or worker is None or worker.outcomes is not None or self._state.counts_lost:
            return
        for each in worker.in_hand:
            held = group.pending.get(each.entry_id) if group else None
            ours = held is not None and held.consumer == replica.name
            if ours and not each.charged and held is not None and held.count > each.count:
                self._wrong(f"I8: {each.entry_id} is charged {held.count} in an outage, not {each.count}")

    def _executes(self, replica: Replica, order: Order) -> None:
        """I3: what was committed when it was claimed is answered, and not executed again."""
        claimed = self._claimed_at.get((replica.name, order.entry_id))
        owner = (replica.fleet.names.source, order.entry_id)
        if claimed is not None and self._committed_at.get(owner, claimed) < claimed:
            self._wrong(f"I3: {order.entry_id} is executed again though it was committed when it was claimed")

    def _recorded(self, fleet: SimulatedFleet, records: Sequence[OrderRecord]) -> None:
        """I7: a row never changes, but for a DEAD one when replayed, or an intent that gets its outcome."""
        for order_id in {record.order_id for record in records}:
            row, before = self._state.table.rows.get(order_id), self._state.rows.get(order_id)
            if row is None or row is before:
                continue
            source = self._state.table.source_of(order_id)
            if source != fleet.names.source:
                self._wrong(
                    f"I7: {fleet.names.source} changed the row of {order_id}, which is that of {source}"
                )
            replayed = (
                before is not None and before.status is Status.DEAD and row.replay_of == before.entry_id
            )
            resolved = (
                before is not None and before.status is Status.SUBMITTED and row.entry_id == before.entry_id
            )
            if before is not None and not (replayed or resolved):
                self._wrong(f"I7: the row of {order_id} changed from {before} to {row}")
            if replayed and before is not None:
                # Its order is another entry's now.
                self._committed_at.pop((source, before.entry_id), None)
            self._state.rows[order_id] = row
            self._committed_at[source, row.entry_id] = self._state.steps

    def _settles(self, fleet: SimulatedFleet, each: Settlement) -> None:
        """I2, I5, I6: what is settled is committed, and says what the row says."""
        table, source = self._state.table, fleet.names.source
        if each.entry_id in fleet.stream.settled:
            return
        row = table.of_entry(each.entry_id, source)
        if each.action == "publish" and (row is None or list(each.fields) != wire.result_fields(row)):
            self._wrong(f"I5, I6: {each.entry_id} is published, its row is {row}")
        if each.action == "unknown" and (row is None or row.status not in WITH_RESULT):
            self._wrong(f"I4: nobody can know of {each.entry_id}, its row is {row}")
        if each.action == "ack" and fleet.accepted[each.entry_id].order_id not in table.rows:
            self._wrong(f"I6: {each.entry_id} is acked as a duplicate of nothing")
        if (
            each.action == "bury"
            and each.fields[3] in _BY_ROW
            and (row is None or row.status is not Status.DEAD)
        ):
            replays = any(other.replay_of == each.entry_id for other in table.of_source(source))
            # Of a trimmed entry only the id made of its own is known, and another order may have taken that.
            taken = derived_order_id(source, each.entry_id) in table.rows
            if row is not None or not (replays or taken):
                self._wrong(f"I2: {each.entry_id} is buried as {each.fields[3]}, its row is {row}")


def _held_by(replica: Replica, entry_ids: Iterable[str]) -> dict[str, str]:
    pending = replica.group.pending if replica.group else {}
    return {each: pending[each].consumer for each in entry_ids if each in pending}
