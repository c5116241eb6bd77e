"""What people, servers and chance do to a deployment in any order, against a dict of what was sent first."""

from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.faults.model.history import simulation
from tests.faults.model.invariants import violations
from tests.faults.model.plan import KNOWLEDGE, Fault, Kind, Plan
from tests.faults.model.world import World
from worker.domain.orders import Status

SOUND: tuple[Kind, ...] = ("filled", "rejected", "error", "nameless")
HOPELESS: tuple[Kind, ...] = ("poison", "raises", "refused", "undecodable")


class AnyCourse(RuleBasedStateMachine):
    """Rules act between the steps of two replicas; `first` is the entry that each order came with first."""

    ENDS: ClassVar[dict[Kind, Status]] = {
        "filled": Status.FILLED,
        "nameless": Status.FILLED,
        "rejected": Status.REJECTED,
        "error": Status.ERROR,
    }

    def __init__(self) -> None:
        super().__init__()
        self.around = simulation()
        self.around.__enter__()
        self.first: dict[str, Kind] = {}
        self.again: set[str] = set()

    @initialize(
        seed=st.integers(0, 1000),
        batch_size=st.sampled_from([1, 2, 100]),
        fleets=st.sampled_from([1, 1, 2]),
        republishes=st.booleans(),
    )
    def begin(self, seed: int, batch_size: int, fleets: int, *, republishes: bool) -> None:
        plan = Plan(
            entries=(),
            seed=seed,
            batch_size=batch_size,
            switching=0.2,
            workers=3 - fleets,
            fleets=fleets,
            republishes=republishes,
        )
        self.world = World(plan)
        self.world.keeps_going = True
        self.world.story = []

    @rule(kind=st.sampled_from(SOUND + HOPELESS))
    def add(self, kind: Kind) -> None:
        entry_id = self.world.send(kind)
        order_id = self.world.fleets[0].accepted[entry_id].order_id
        if order_id is not None:
            self.first[order_id] = kind

    @precondition(lambda self: self.first)
    @rule(kind=st.sampled_from(["duplicate", "conflict"]), of=st.integers(0, 20))
    def add_again(self, kind: Kind, of: int) -> None:
        entry_id = self.world.send(kind, of)
        order_id = self.world.fleets[0].accepted[entry_id].order_id
        assert order_id is not None
        self.again.add(order_id)

    @rule(steps=st.integers(1, 40))
    def work(self, steps: int) -> None:
        self.world.scheduler.run(steps)

    @rule(steps=st.integers(1, 6), which=st.integers(0, 5))
    def crash(self, steps: int, which: int) -> None:
        self.work(steps)
        live = [replica for replica in self.world.replicas if not replica.dead]
        if live:
            self.world.struck["dies before"] += 1
            self.world.kill(live[which % len(live)], "by rule")

    @rule(leases=st.sampled_from([0.5, 1.1, 2.5]))
    def let_time_pass(self, leases: float) -> None:
        self.world.strike(Fault(0, "clock ahead", None, leases * self.world.plan.lease_s))

    @rule(kind=st.sampled_from(["redis away", "postgresql away"]), for_s=st.sampled_from([0.01, 2.0, 12.0]))
    def break_off(self, kind: str, for_s: float) -> None:
        self.world.strike(Fault(0, kind, None, for_s))

    @rule(
        kind=st.sampled_from(["never arrives", "reply lost", "arrives late", "stops before", "stops after"]),
        at=st.sampled_from(["read", "claim", "fetch", "charge", "record", "settle", "renew"]),
        for_s=st.sampled_from([0.01, 3.0]),
    )
    def disturb(self, kind: str, at: str, for_s: float) -> None:
        self.world.arm(Fault(0, kind, at, for_s if kind not in {"never arrives", "reply lost"} else 0.0))

    @rule(
        kind=st.sampled_from(["entry trimmed", "group lost", "redis wiped", "drain", "hurried drain"]),
        which=st.integers(0, 20),
    )
    def lose(self, kind: str, which: int) -> None:
        self.world.strike(Fault(0, kind, None, 0.0, which))

    @rule(kind=st.sampled_from((*KNOWLEDGE, "audit")), which=st.integers(0, 20))
    def meddle(self, kind: str, which: int) -> None:
        self.world.strike(Fault(0, kind, None, 0.0, which))

    @rule(which=st.integers(0, 20))
    def replay(self, which: int) -> None:
        self.world.strike(Fault(0, "replay", None, 0.0, which))

    @invariant()
    def nothing_is_wrong_so_far(self) -> None:
        if hasattr(self, "world"):
            assert not self.world.violations

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.world.keeps_going = False
                self.world.scheduler.run()
                self.world.decide()
                assert not violations(self.world), "\n".join(self.world.story or ())
                self.check_ends()
        finally:
            self.around.__exit__(None, None, None)

    def check_ends(self) -> None:
        """Every order that nothing else came in the way of has the one end that its kind has."""
        world = self.world
        disturbed = (
            world.fleets[0].gone
            or world.struck["entry trimmed"]
            or world.disruptions >= world.plan.max_deliveries
        )
        for order_id, kind in self.first.items():
            if kind in self.ENDS and order_id not in self.again and not disturbed:
                assert world.table.rows[order_id].status is self.ENDS[kind], order_id


AnyCourse.TestCase.settings = settings(
    max_examples=150, stateful_step_count=25, deadline=None, derandomize=True, print_blob=True
)
TestAnyCourse = pytest.mark.timeout(300)(AnyCourse.TestCase)
