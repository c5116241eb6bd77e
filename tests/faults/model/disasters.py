"""What strikes everybody at once: servers away or losing data, clocks that are set, orders to leave."""

from copy import deepcopy
from typing import Any

from tests.fakes import FakeStream
from tests.faults.model import people
from tests.faults.model.fleet import SimulatedFleet
from tests.faults.model.plan import OF_A_CALL, Fault
from tests.faults.model.state import State
from tests.logs import FakeLog


class Disasters:
    """Strike at their steps."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._coming = [fault for fault in state.plan.faults if fault.kind not in OF_A_CALL]
        self._memory: list[tuple[FakeStream, dict[int, str]]] = []
        self._remembers = sorted(
            max(0, fault.step - 1 - 3 * fault.which)
            for fault in state.plan.faults
            if fault.kind == "redis rolled back"
        )

    def come(self) -> None:
        """Let happen what is to happen at this step."""
        state = self._state
        if self._remembers and self._remembers[0] <= state.steps:
            # An old replica of Redis falls behind from here on.
            self._remembers.pop(0)
            self._memory = [(_copy_of(fleet.stream), dict(fleet.closed)) for fleet in state.fleets]
        if self._coming and self._coming[0].step <= state.steps:
            self.strike(self._coming.pop(0))

    def hurry(self) -> bool:
        """Let the next one strike now, since nothing else is left to do; return whether there was one."""
        if not self._coming:
            return False
        self._state.steps = max(self._state.steps, self._coming[0].step)
        self.strike(self._coming.pop(0))
        return True

    def drop(self) -> None:
        """Let nothing strike any more."""
        self._coming.clear()

    def strike(self, fault: Fault) -> None:
        """Let a fault strike everybody, or one fleet of several, now."""
        state = self._state
        state.strikes(fault)
        match fault.kind:
            case "redis away" | "postgresql away":
                server = fault.kind.removesuffix(" away")
                state.away_until[server] = max(state.away_until[server], state.clock.seconds + fault.for_s)
            case "clock ahead":
                state.clock.advance(fault.for_s)
                state.busy_until(state.clock.seconds)
            case "clock back":
                state.clock.set_by -= fault.for_s
            case "drain" | "hurried drain":
                self._drain_one(fault.which, times=2 if fault.kind == "hurried drain" else 1)
            case "redis wiped":
                self._put_back([(type(each.stream)(state.clock), {}) for each in state.fleets])
            case "redis rolled back" if self._memory:
                self._put_back([(_copy_of(stream), dict(closed)) for stream, closed in self._memory])
            case "redis rolled back":
                pass
            case _:
                which, place = divmod(fault.which, len(state.fleets))
                people.act(state, state.fleets[place], fault.kind, which)

    def _put_back(self, old: list[tuple[FakeStream, dict[int, str]]]) -> None:
        state = self._state
        for fleet, (stream, closed) in zip(state.fleets, old, strict=True):
            _become(fleet, stream)
            fleet.closed = closed
        # Redis does not lose data without its clients noticing: it was started again, or another took its
        # place.
        live = [replica.name for replica in state.replicas if not replica.dead]
        state.disconnected = {(name, reading) for name in live for reading in (True, False)}
        state.counts_lost = True
        for fleet in state.fleets:
            fleet.note_losses()

    def _drain_one(self, which: int, *, times: int) -> None:
        """Send SIGTERM to a replica, once or twice."""
        live = [replica for replica in self._state.replicas if not replica.dead and replica.worker]
        if live:
            people.drain(self._state, live[which % len(live)], times=times)


def _become(fleet: SimulatedFleet, old: FakeStream) -> None:
    """Let the streams of a fleet be as they were."""
    stream = fleet.stream
    stream.results.become(old.results)
    # Ids are times, so what comes after the loss has others than what was lost. Names stand in nobody's
    # memory.
    kept = {name: vars(stream)[name] for name in ("_last", "group_name", "results", "marks_stay_ms")}
    vars(stream).update(vars(old) | kept)


def _copy_of(stream: FakeStream) -> FakeStream:
    copied = object.__new__(type(stream))
    vars(copied).update({name: _copied(name, value) for name, value in vars(stream).items()})
    return copied


def _copied(name: str, value: Any) -> Any:
    if name in {"groups", "noted"}:
        return deepcopy(value)
    # The entries themselves never change.
    return value.copy() if isinstance(value, dict | set | list | FakeLog) else value
