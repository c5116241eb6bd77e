"""What people and producers do to one fleet: they rename, delete, trim, replay and audit, at any moment."""

from collections.abc import Callable

from tests.faults.model.auditing import repair
from tests.faults.model.fleet import Sent, SimulatedFleet
from tests.faults.model.sending import send_under_a_used_id
from tests.faults.model.state import Replica, State
from worker import wire
from worker.domain.orders import Status


def act(state: State, fleet: SimulatedFleet, kind: str, which: int) -> None:
    """Let somebody do what a fault is called; `which` picks one of several."""
    _ACTS[kind](state, fleet, which)


def drain(state: State, replica: Replica, *, times: int = 1) -> None:
    """Send SIGTERM to a replica so many times."""
    assert replica.worker is not None
    state.tell(replica.name, "is asked to leave")
    for _ in range(times):
        replica.worker.drain.request()


def _rename(state: State, fleet: SimulatedFleet, which: int) -> None:
    """Give the group another name: replicas leave and return under it one by one; the old group may stay."""
    stream = fleet.stream
    old, stream.group_name = stream.group_name, f"execution-{len(stream.noted) + state.steps}"
    if which % 2:
        stream.groups.pop(old, None)
    for replica in state.replicas:
        if replica.fleet is fleet and not replica.dead and replica.worker:
            drain(state, replica)
    state.counts_lost = True
    fleet.note_losses()


def _trim(state: State, fleet: SimulatedFleet, which: int) -> None:
    """Let a producer trim one entry, whoever is at work on it."""
    stream = fleet.stream
    if not stream.entries:
        return
    entry_id = list(stream.entries)[which % len(stream.entries)]
    fields = stream.entries.pop(entry_id)
    state.tell("producer", f"trims {entry_id} of {fleet.names.source}")
    if entry_id in fleet.again and fleet.again[entry_id].fields == fields:
        fleet.gone_again.add(entry_id)
    elif stream.group is None or (entry_id not in stream.group.pending and entry_id not in stream.settled):
        fleet.gone.add(entry_id)


def _use_again(state: State, fleet: SimulatedFleet, which: int) -> None:
    """Delete the orders stream, and have another order come under an entry id that nobody holds any more."""
    free = _free_ids(state, fleet)
    if not free:
        return
    fleet.stream.delete_orders()
    state.counts_lost = True
    fleet.note_losses()
    send_under_a_used_id(state, fleet, free[which % len(free)])


def _free_ids(state: State, fleet: SimulatedFleet) -> list[str]:
    """Return the ids of entries that own a row and were settled, and of which no replica thinks any more."""
    stream = fleet.stream
    workers = [
        each.worker for each in state.replicas if each.fleet is fleet and not each.dead and each.worker
    ]
    if state.on_their_way[fleet.names.source] or any(worker.repair.doubts for worker in workers):
        return []
    held = {entry_id for worker in workers for entry_id in worker.lease.held}
    held |= {delivery.entry_id for worker in workers for delivery in worker.in_hand}
    pending = {entry_id for group in stream.groups.values() for entry_id in group.pending}
    rows = state.table.of_source(fleet.names.source)
    return sorted(
        row.entry_id
        for row in rows
        if row.fingerprint
        and row.status is not Status.SUBMITTED
        and row.entry_id in stream.settled - held - pending - fleet.again.keys() - stream.trimmed.keys()
    )


def _replay(state: State, fleet: SimulatedFleet, which: int) -> None:
    """Replay an open dead letter, now that its cause is mended; once, however often it is asked for."""
    still_open = [place for place in range(len(fleet.stream.letters)) if place not in fleet.closed]
    if not still_open:
        return
    state.mended = True
    place = still_open[which % len(still_open)]
    raw = [part.encode() if isinstance(part, str) else part for part in fleet.stream.letters[place]]
    letter = wire.read_letter(raw)
    try:
        made = wire.replay_of(letter, {}, fleet.decoder)
    except wire.NotReplayable:
        return
    entry_id = fleet.stream.add(*made.fields)
    fleet.closed[place] = entry_id
    fleet.accepted[entry_id] = Sent(fleet.accepted[letter.entry_id].kind, made.order_id, made.fields)
    state.tell("operator", f"replays {letter.entry_id} of {fleet.names.source} as {entry_id}")


def _audit(state: State, fleet: SimulatedFleet, which: int) -> None:
    repair(state, fleet, republish=which % 2 == 1)


def _lose_marks(state: State, fleet: SimulatedFleet, which: int) -> None:
    del state, which
    fleet.stream.lose_marks()


def _lose_group(state: State, fleet: SimulatedFleet, which: int) -> None:
    del which
    fleet.stream.group = None
    state.counts_lost = True
    fleet.note_losses()


def _lose_both(state: State, fleet: SimulatedFleet, which: int) -> None:
    _lose_marks(state, fleet, which)
    _lose_group(state, fleet, which)


def _trim_results(state: State, fleet: SimulatedFleet, which: int) -> None:
    del state
    fleet.stream.results.trim(1 + which)


def _delete_a_result(state: State, fleet: SimulatedFleet, which: int) -> None:
    del state
    results = fleet.stream.results
    if results:
        results.delete(which % len(results))


_ACTS: dict[str, Callable[[State, SimulatedFleet, int], None]] = {
    "replay": _replay,
    "audit": _audit,
    "entry trimmed": _trim,
    "marks lost": _lose_marks,
    "group lost": _lose_group,
    "marks and group lost": _lose_both,
    "group renamed": _rename,
    "results trimmed": _trim_results,
    "results deleted": _delete_a_result,
    "entry id used again": _use_again,
}
