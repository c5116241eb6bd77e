"""Every call of a worker to one of its ports: a step, where others may go on, and where faults strike."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from tests.faults.model.disasters import Disasters
from tests.faults.model.plan import EXECUTING, LOSING, OF_A_CALL, Fault
from tests.faults.model.scheduler import Killed
from tests.faults.model.state import Replica, State
from tests.faults.model.telling import shown
from tests.faults.model.watch import CHARGING, KEEPING, Watch
from worker.domain.deliveries import ClaimedPage
from worker.domain.errors import Outage, VenueUnavailable

STEP_S = 0.001
MOST_STEPS = 20_000
# Calls that ask what is to be done; where they find nothing again, nothing can be lost.
POLLING = frozenset({
    "read", "read_ahead", "arrived", "claim", "trimmed", "lost_unread", "retain", "remove_dead", "now",
    "recorded", "fates", "note", "begin_walk",
})  # fmt: skip
# Calls that come even when nothing is to be done.
_IDLE = ("read", "claim", "trimmed", None)


class Call(Struct):
    """One call: of whom, to which port, and what it does there."""

    replica: Replica
    server: str
    name: str
    act: Callable[[], Any]
    args: tuple[Any, ...]


class Calls:
    """Lets calls happen, or go wrong as planned."""

    def __init__(self, state: State, watch: Watch, disasters: Disasters) -> None:
        self._state = state
        self._watch = watch
        self._disasters = disasters
        self._armed = [fault for fault in state.plan.faults if fault.kind in OF_A_CALL]
        self._landing: list[tuple[Call, Callable[[], None]]] = []
        self._polled = set[str]()
        self.nobody_waits = False

    def arm(self, fault: Fault) -> None:
        """Let a fault strike the next call that it can strike."""
        self._armed.append(fault)

    def drop(self) -> None:
        """Let nothing strike any more."""
        self._armed.clear()

    @property
    def next_step(self) -> int | None:
        """The step from which on the next fault may strike."""
        return min((fault.step for fault in self._armed if fault.step > self._state.steps), default=None)

    @property
    def idlers_may_be_struck(self) -> bool:
        """Whether a fault waits for a call that will come, though nothing is to be done."""
        return any(fault.at in _IDLE and fault.kind not in EXECUTING for fault in self._armed)

    def happen(self, call: Call) -> Any:
        """Let a call happen in its turn."""
        state, replica = self._state, call.replica
        state.scheduler.pause()
        state.steps += 1
        state.clock.advance(STEP_S)
        self._disasters.come()
        if state.steps > MOST_STEPS:
            state.end_badly("I9: it does not come to an end")
            raise Killed
        if call.name in KEEPING:
            replica.charged = False
        fault = self._due(call) if self._armed else None
        if fault is not None:
            state.strikes(fault)
            state.struck_calls.add((fault.kind, call.name))
            replica.troubled = True
            self._before(call, fault)
        self._reach(call)
        replica.reading = call.name == "read"
        result = self._take_effect(call)
        replica.reading = False
        if fault is not None:
            self._after(call, fault)
        state.scheduler.pause()
        return result

    def _due(self, call: Call) -> Fault | None:
        for fault in self._armed:
            if fault.step > self._state.steps:
                return None
            at_venue = call.server == "venue"
            possible = at_venue or fault.kind not in EXECUTING
            if fault.at in {None, call.name} and possible and not (at_venue and fault.kind in LOSING):
                self._armed.remove(fault)
                return fault
        return None

    def _reach(self, call: Call) -> None:
        state, server = self._state, call.server
        # The blocking read has a connection of its own.
        connection = (call.replica.name, call.name == "read")
        why = ""
        if server == "redis" and connection in state.disconnected:
            state.disconnected.remove(connection)
            why = "connection lost"
        elif state.away_until.get(server, 0.0) > state.clock.seconds:
            why = "away"
        if why:
            call.replica.troubled = True
            state.tell(call.replica.name, f"{call.name}: {server} {why}")
            raise Outage(server, why)

    def _take_effect(self, call: Call) -> Any:
        state, replica, name = self._state, call.replica, call.name
        if name == "record":
            self._wait_for_transactions(call)
        self._watch.before(replica, name, call.args)
        result = call.act()
        self._watch.after(replica, name, call.args, result)
        if name not in POLLING or name not in self._polled or _found(result):
            self._polled.add(name)
            state.telling_steps[state.steps] = name
        if state.story is not None:
            state.tell(replica.name, f"{name}{shown(call.args)} -> {shown(result)}")
        return result

    def _before(self, call: Call, fault: Fault) -> None:
        state, name = self._state, call.name
        match fault.kind:
            case "dies before":
                state.kill(call.replica, f"before {name}")
                raise Killed
            case "stops before":
                call.replica.stopped_until = state.clock.seconds + fault.for_s
                state.scheduler.pause()
            case "never arrives":
                raise Outage(call.server, f"{name} never arrived")
            case "arrives late":
                self._land_later(call, fault.for_s)
                raise Outage(call.server, f"{name} arrives late")
            case "raises":
                raise ValueError("boom")
            case "venue away":
                raise VenueUnavailable("closed")
            case _:
                pass

    def _after(self, call: Call, fault: Fault) -> None:
        match fault.kind:
            case "dies after":
                self._state.kill(call.replica, f"after {call.name}")
                raise Killed
            case "stops after":
                call.replica.stopped_until = self._state.clock.seconds + fault.for_s
            case "reply lost":
                raise Outage(call.server, f"the reply to {call.name} is lost")
            case _:
                pass

    def _land_later(self, call: Call, for_s: float) -> None:
        """Let a call take effect when its caller has long given it up."""
        # What was charged late may undo a later charge.
        self._state.counts_lost |= call.name in CHARGING

        def land() -> None:
            if entry not in self._landing:
                return
            self._landing.remove(entry)
            self._state.tell(call.replica.name, f"{call.name} arrives, late")
            self.nobody_waits = True
            # Nothing of it tells what its caller has done since.
            call.replica.charged = False
            try:
                self._take_effect(call)
            except Exception as error:  # noqa: BLE001  nobody is there to hear of it
                self._state.tell(call.replica.name, f"{call.name}: {error}")
            finally:
                self.nobody_waits = False
                self._state.on_their_way[source] -= 1

        source = call.replica.fleet.names.source
        self._state.on_their_way[source] += 1
        entry = (call, land)
        self._landing.append(entry)
        self._state.scheduler.at(self._state.clock.seconds + for_s, land)

    def _wait_for_transactions(self, call: Call) -> None:
        """An insert waits for the open transaction of another that writes the same row."""
        fleet, records = call.replica.fleet, call.args[0]
        orders = {record.order_id for record in records}
        entries = {record.entry_id for record in records}
        for waiting, land in list(self._landing):
            ours = waiting.replica.fleet is fleet
            if waiting.name == "record" and any(
                record.order_id in orders or (ours and record.entry_id in entries)
                for record in waiting.args[0]
            ):
                land()


def _found(result: Any) -> bool:
    """Whether a call that asks what is to be done found something."""
    return (
        bool(result.deliveries)
        if isinstance(result, ClaimedPage)
        else isinstance(result, list) and bool(result)
    )
