"""What strikes everybody at once: servers that are away or lose data, clocks that are set, orders to leave."""

from copy import deepcopy
from typing import Any

from tests.builders import decoder
from tests.fakes import FakeStream
from tests.faults.model.plan import OF_A_CALL, Fault
from tests.faults.model.state import Sent, State
from worker import wire

_DECODER = decoder()


class Disasters:
    """Strike at their steps."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._coming = [fault for fault in state.plan.faults if fault.kind not in OF_A_CALL]
        self._memory: tuple[FakeStream, dict[int, str]] | None = None
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
            self._memory = (_copy_of(state.stream), dict(state.closed))
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
        """Let a fault strike everybody, now."""
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
            case "replay":
                self._replay(fault.which)
            case "entry trimmed":
                self._trim(fault.which)
            case "group lost" | "marks lost":
                self._lose(fault.kind)
            case "redis wiped":
                self._put_back(type(state.stream)(state.clock), {})
            case "redis rolled back" if self._memory is not None:
                old, closed = self._memory
                self._put_back(_copy_of(old), closed)
            case _:
                pass

    def _lose(self, kind: str) -> None:
        """Lose the group, or the marks: a person deletes them, or a server evicts them; the results stay."""
        if kind == "marks lost":
            self._state.stream.lose_marks()
        else:
            self._state.stream.group = None
            self._note_losses()

    def _put_back(self, old: FakeStream, closed: dict[int, str]) -> None:
        state = self._state
        # Ids are times, so what comes after the loss has others than what was lost.
        last = vars(state.stream)["_last"]
        vars(state.stream).update(vars(old), _last=last)
        state.closed = dict(closed)
        # Redis does not lose data without its clients noticing: it was started again, or another took its place.
        live = [replica.name for replica in state.replicas if not replica.dead]
        state.disconnected = {(name, reading) for name in live for reading in (True, False)}
        self._note_losses()

    def _note_losses(self) -> None:
        """Entries that no store knows any more are lost with Redis: nobody can settle them."""
        state = self._state
        state.counts_lost = True
        known = state.stream.entries.keys() | state.stream.settled | state.stream.trimmed.keys()
        state.gone |= state.accepted.keys() - known

    def _trim(self, which: int) -> None:
        """Let a producer trim one entry, whoever is at work on it."""
        state, stream = self._state, self._state.stream
        if not stream.entries:
            return
        entry_id = list(stream.entries)[which % len(stream.entries)]
        del stream.entries[entry_id]
        state.tell("producer", f"trims {entry_id}")
        if stream.group is None or (entry_id not in stream.group.pending and entry_id not in stream.settled):
            state.gone.add(entry_id)

    def _drain_one(self, which: int, *, times: int) -> None:
        """Send SIGTERM to a replica, once or twice."""
        live = [replica for replica in self._state.replicas if not replica.dead and replica.worker]
        if live:
            replica = live[which % len(live)]
            assert replica.worker is not None
            self._state.tell(replica.name, "is asked to leave")
            for _ in range(times):
                replica.worker.drain.request()

    def _replay(self, which: int) -> None:
        """Replay a dead letter that is open, now that what made it one is mended; once, however often it is asked for."""
        state = self._state
        still_open = [place for place in range(len(state.stream.letters)) if place not in state.closed]
        if not still_open:
            return
        state.mended = True
        place = still_open[which % len(still_open)]
        raw = [part.encode() if isinstance(part, str) else part for part in state.stream.letters[place]]
        letter = wire.read_letter(raw)
        try:
            made = wire.replay_of(letter, {}, _DECODER)
        except wire.NotReplayable:
            return
        entry_id = state.stream.add(*made.fields)
        state.closed[place] = entry_id
        state.accepted[entry_id] = Sent(state.accepted[letter.entry_id].kind, made.order_id, made.fields)
        state.tell("operator", f"replays {letter.entry_id} as {entry_id}")


def _copy_of(stream: FakeStream) -> FakeStream:
    copied = object.__new__(type(stream))
    vars(copied).update({name: _copied(name, value) for name, value in vars(stream).items()})
    return copied


def _copied(name: str, value: Any) -> Any:
    if name in {"groups", "noted"}:
        return deepcopy(value)
    # The entries themselves never change.
    return value.copy() if isinstance(value, dict | set | list) else value
