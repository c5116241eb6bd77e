"""The simulated world: what is sent, who works on it, when it is over."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.builders import filled
from tests.fakes import FakeStream
from tests.faults.model.auditing import decide
from tests.faults.model.calls import Call, Calls
from tests.faults.model.disasters import Disasters
from tests.faults.model.fleet import SimulatedFleet
from tests.faults.model.plan import UNGROUPING, WIPING, Fault, Kind, Plan
from tests.faults.model.replica import Limits, Parts, assemble
from tests.faults.model.scheduler import Killed, Task
from tests.faults.model.sending import send
from tests.faults.model.state import RESTART_AFTER_S, Replica, State
from tests.faults.model.watch import Watch
from tests.groups import id_order
from worker.domain.errors import Outage
from worker.domain.orders import Execution, Order, OrderRecord, Status

# More than a scan is apart: how long a read blocks is the worker's own decision.
BLOCK_MS = 10_000
# All replicas have had a turn to repair by then: two connections that are found broken, with a back-off each,
# and reads that block before and after.
REPAIRED_WITHIN_S = 16.0


class World(State):
    """One history, and those who act in it."""

    def __init__(
        self, plan: Plan, *, parts: Parts | None = None, stream: type[FakeStream] = FakeStream
    ) -> None:
        super().__init__(plan, stream)
        self.keeps_going = False
        self._parts = parts or Parts()
        self._limits = Limits(
            plan.batch_size, BLOCK_MS, int(plan.lease_s * 1000), plan.max_deliveries, plan.keep_s
        )
        self._chance = random.Random(plan.seed)  # noqa: S311  no secret
        self._pauses = 0
        self._settled_since = 0.0
        self._watch = Watch(self)
        self._disasters = Disasters(self)
        self._calls = Calls(self, self._watch, self._disasters)
        self.restart = self._start_replica
        self.scheduler.preempts, self.scheduler.picks = self._preempts, self._picks
        self.scheduler.on_idle, self.scheduler.on_end = self._when_idle, self._when_ended
        for fleet in self.fleets:
            fleet.stream.make_group()
        for after_s, kind in plan.entries:
            if after_s:
                self.scheduler.at(self.clock.seconds + after_s, partial(self._send_one, kind))
            else:
                self.send(kind)
        for fleet in self.fleets:
            for _ in range(plan.workers):
                self._start_replica(fleet)

    def send(self, kind: Kind, of: int | None = None) -> str:
        """Add an entry to each fleet; a duplicate or conflict is one of a named order, else of the last."""
        entry_id = None
        for fleet in self.fleets:
            # Under one id in all of them, wherever Redis takes it.
            entry_id = send(self, fleet, kind, of, under=entry_id)
        assert entry_id is not None
        return entry_id

    def _send_one(self, kind: Kind) -> None:
        self.send(kind)

    def strike(self, fault: Fault) -> None:
        """Let a fault strike everybody, now."""
        self._disasters.strike(fault)

    def arm(self, fault: Fault) -> None:
        """Let a fault strike the next call that it can strike."""
        self._calls.arm(fault)

    @property
    def all_settled(self) -> bool:
        """Whether nothing is pending, nothing undelivered, and no trimmed entry waits for its fate."""
        return all(_settled(fleet.stream) for fleet in self.fleets)

    def decide(self) -> None:
        """Let a person repair every audit in which nobody can know; call when all replicas have left."""
        for fleet in self.fleets:
            if fleet.stream.unknown:
                decide(self, fleet, republish=self.plan.republishes)

    def _start_replica(self, fleet: SimulatedFleet) -> None:
        if self.ending:
            return
        replica = Replica(f"worker-{len(self.replicas) + 1}", fleet)
        self.replicas.append(replica)
        replica.loop = self.scheduler.spawn(replica, lambda: self._live(replica))

    def _live(self, replica: Replica) -> None:
        fleet = replica.fleet
        replica.group_name = fleet.stream.group_name
        orders = self._parts.orders(
            fleet.stream, replica.name, lease_ms=self._limits.lease_ms, group=replica.group_name
        )
        orders.wait = self._block
        store = self._parts.store(self.table, fleet.names)
        store.refuses = _refused

        def step(server: str, name: str, act: Callable[[], Any], args: tuple[Any, ...]) -> Any:
            return self._calls.happen(Call(replica, server, name, act, args))

        executor = Executes(self, replica)
        worker = assemble(self._parts, self._limits, self.clock, orders, store, executor, step)
        replica.worker = worker
        worker.stream.ensure_group()
        worker.run()

    def _block(self, seconds: float) -> None:
        if not self._calls.nobody_waits:
            self.scheduler.sleep(seconds)

    def _when_ended(self, task: Task) -> None:
        replica = task.process
        assert isinstance(replica, Replica)
        if replica.dead or task is not replica.loop:
            return
        if task.error is None:
            self._watch.left(replica)
        elif not isinstance(task.error, Outage):
            self.end_badly(f"{replica.name} ended with {task.error!r}")
        replica.dead = True
        self.tell(replica.name, f"ends: {task.error or 'drained'}")
        self.scheduler.at(self.clock.seconds + RESTART_AFTER_S, partial(self._start_replica, replica.fleet))

    def _when_idle(self) -> None:
        if self.ending or not self._quiet:
            return
        if self._settled_since != self.healed_at:
            self._settled_since = self.healed_at
            self.settled_after_s = max(self.settled_after_s, self.clock.seconds - self.healed_at)
        lost = self.struck.keys() & {*WIPING, "entry id used again"}
        if self.struck["entry trimmed"]:
            lost |= self.struck.keys() & {*UNGROUPING}
        if self.keeps_going or (lost and self.clock.seconds < self.healed_at + REPAIRED_WITHIN_S):
            return
        if self._disasters.hurry():
            return
        next_step = self._calls.next_step
        if next_step is not None:
            self.steps = next_step
        elif not self._calls.idlers_may_be_struck:
            self._end()

    def _end(self) -> None:
        """Drain all replicas; what can't strike any more is dropped."""
        self.ending = True
        self._calls.drop()
        self._disasters.drop()
        for replica in self.replicas:
            if not replica.dead and replica.worker is not None:
                replica.worker.drain.request()

    @property
    def _quiet(self) -> bool:
        """Whether nothing is going on: all loops wait in a read, and nothing else is to happen by itself."""
        now = self.clock.seconds
        return (
            not self.scheduler.timers
            and max(self.away_until.values()) <= now
            and all(each.dead or (each.reading and each.stopped_until <= now) for each in self.replicas)
            and self.all_settled
        )

    def _preempts(self) -> bool:
        self._pauses += 1
        if self.plan.preemptions is not None:
            return self._pauses in self.plan.preemptions
        return self.plan.switching > 0 and self._chance.random() < self.plan.switching

    def _picks(self, count: int) -> int:
        return 0 if self.plan.preemptions is not None else self._chance.randrange(count)


class Executes:
    """The executor of one replica: fills what can be filled."""

    pure = True

    def __init__(self, world: World, replica: Replica) -> None:
        self._world = world
        self._replica = replica

    def execute(self, order: Order) -> Execution:
        kind, world = order.order_id.partition("-")[0], self._world
        if kind == "poison" and not world.mended:
            world.deaths[self._replica.fleet.names.source, order.entry_id] += 1
            world.busy_until(world.clock.seconds)
            world.kill(self._replica, f"of {order.order_id}")
            raise Killed
        if kind == "raises" and not world.mended:
            raise ValueError("boom")
        if kind == "error":
            return Execution(Status.ERROR, error_message="no such market")
        return filled(order)


def _settled(stream: FakeStream) -> bool:
    group = stream.group
    if group is None:
        return not stream.entries and not stream.trimmed
    last = max(map(id_order, stream.entries), default=(0, 0))
    return not group.pending and not stream.trimmed and group.delivered >= last


def _refused(record: OrderRecord) -> bool:
    return record.order_id.startswith("refused") and record.symbol is not None
