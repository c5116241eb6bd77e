"""What producers send."""

from tests.builders import flat
from tests.faults.model.fleet import Sent, SimulatedFleet
from tests.faults.model.plan import Kind
from tests.faults.model.state import State


def send(state: State, fleet: SimulatedFleet, kind: Kind, of: int | None, *, under: str | None) -> str:
    """Add an entry to a fleet, under an id of the producer's own where Redis takes it; return its id.

    Every second entry of another fleet has the content of the first one's.
    """
    number = len(fleet.accepted)
    known = [sent for sent in fleet.accepted.values() if sent.order_id and sent.kind != "conflict"]
    quantity, order_id, first = "0.5", f"{kind}-{number}{fleet.ending}", kind
    if fleet.ending and number % 2:
        quantity = "0.25"
    if kind == "everywhere":
        order_id = f"{kind}-{number}"
    if kind in {"duplicate", "conflict"} and known:
        before = known[(len(known) - 1 if of is None else of) % len(known)]
        order_id, first = before.order_id or "", before.kind
        quantity = _quantity(before)
    if kind == "conflict":
        quantity = f"7.{number}"
    elif first == "rejected":
        quantity = "0"
    # An order that names none has its id from the entry; who repeats it has to spell that out.
    name_of_its_own = "" if kind == "nameless" else order_id
    client_id = "a client" if first == "nameless" else ""
    fields = flat(order_id=name_of_its_own, quantity=quantity, client_id=client_id, timestamp=str(number))
    if kind == "undecodable":
        fields = (b"nothing", b"known")
    entry_id = fleet.stream.add(*fields, under=under)
    name = {"nameless": f"{fleet.names.source}:{entry_id}", "undecodable": None}.get(kind, order_id)
    fleet.accepted[entry_id] = Sent(kind, name, fields)
    state.busy_until(state.clock.seconds)
    state.tell("producer", f"adds {entry_id} to {fleet.names.source}: {kind} {name}")
    return entry_id


def send_under_a_used_id(state: State, fleet: SimulatedFleet, entry_id: str) -> None:
    """Add another order of equal content under the id of an entry that was there before."""
    before = fleet.accepted[entry_id]
    order_id = f"again-{entry_id}{fleet.ending}"
    fields = flat(order_id=order_id, quantity=_quantity(before), timestamp="0")
    added = fleet.stream.add(*fields, under=entry_id)
    assert added == entry_id
    fleet.again[entry_id] = Sent("filled", order_id, fields)
    state.busy_until(state.clock.seconds)
    state.tell("producer", f"adds {entry_id} again to {fleet.names.source}: {order_id}")


def _quantity(sent: Sent) -> str:
    return dict(zip(sent.fields[::2], sent.fields[1::2], strict=True)).get(b"quantity", b"0.5").decode()
