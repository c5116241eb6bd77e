"""What a simulated world holds: servers, replicas, one clock, and what is known of how they came about."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial

from tests.fakes import FakeClock, FakeStream, FakeTable
from tests.faults.model.fleet import SimulatedFleet
from tests.faults.model.plan import DISRUPTIVE, Fault, Plan
from tests.faults.model.scheduler import Process, Scheduler, Task
from tests.groups import Group
from worker.consumer import Worker
from worker.domain.fleets import Fleet
from worker.domain.orders import OrderRecord

RESTART_AFTER_S = 1.0
START_S = FakeClock().seconds


class WorldClock(FakeClock):
    """Time of day can be set; what has passed can't."""

    def __init__(self) -> None:
        super().__init__()
        self.set_by = 0.0

    def now(self) -> datetime:
        moved = FakeClock()
        moved.seconds = self.seconds + self.set_by
        return moved.now()

    def milliseconds(self) -> int:
        return int((self.seconds + self.set_by) * 1000)


class Replica(Process):
    """One process with its worker.

    `troubled` when a fault struck it, `charged` when it has just charged entries.
    """

    def __init__(self, name: str, fleet: SimulatedFleet) -> None:
        super().__init__(name)
        self.fleet = fleet
        self.worker: Worker | None = None
        self.loop: Task | None = None
        self.reading = False
        self.troubled = False
        self.charged = False
        self.group_name = fleet.stream.group_name

    @property
    def group(self) -> Group | None:
        """The group that it reads for, under the name that this had when it started."""
        return self.fleet.stream.groups.get(self.group_name)


class State:
    """One history so far. `violations` says what went wrong, `story` who did what where it is asked for."""

    def __init__(self, plan: Plan, stream: type[FakeStream]) -> None:
        self.plan = plan
        self.clock = WorldClock()
        self.fleets = self._fleets(stream)
        self.table = FakeTable()
        self.table.book.update(fleet.names for fleet in self.fleets)
        self.scheduler = Scheduler(self.clock)
        self.replicas: list[Replica] = []
        self.restart: Callable[[SimulatedFleet], None] = lambda _fleet: None
        self.steps = 0
        self.ending = False
        self.violations: list[str] = []
        self.story: list[str] | None = None
        # Every row ever committed.
        self.rows: dict[str, OrderRecord] = {}
        # What struck, and what it did.
        self.struck = Counter[str]()
        self.struck_calls: set[tuple[str, str]] = set()
        # Of each source, by entry.
        self.deaths = Counter[tuple[str, str]]()
        self.counts_lost = False
        self.mended = False
        self.away_until = {"redis": 0.0, "postgresql": 0.0}
        self.disconnected: set[tuple[str, bool]] = set()
        # Calls that are given up and will take effect all the same: of which fleet.
        self.on_their_way = Counter[str]()
        self.healed_at = self.clock.seconds
        self.settled_after_s = 0.0
        # One of each kind of calls that find nothing to do, and all others: there faults can matter.
        self.telling_steps: dict[int, str] = {}

    def _fleets(self, stream: type[FakeStream]) -> list[SimulatedFleet]:
        plan, fleets = self.plan, list[SimulatedFleet]()
        for source, ending in (("orders", ""), ("others", "-b"))[: plan.fleets]:
            results = "results" if plan.one_results_stream else f"{source}:results"
            its_own = stream(self.clock, counts_added=plan.counts_added)
            its_own.marks_stay_ms = plan.marks_stay_ms
            if plan.one_results_stream and fleets:
                its_own.results = fleets[0].stream.results
            fleets.append(SimulatedFleet(Fleet(source, results), its_own, ending))
        return fleets

    def tell(self, who: str, what: str) -> None:
        """Note what happens, where somebody wants to read it."""
        if self.story is not None:
            self.story.append(f"{self.steps:5} {self.clock.seconds - START_S:9.3f} s  {who:9} {what}")

    def strikes(self, fault: Fault) -> None:
        """Note that a fault strikes now."""
        self.struck[fault.kind] += 1
        self.busy_until(self.clock.seconds + fault.for_s)
        self.tell("FAULT", str(fault))

    def busy_until(self, seconds: float) -> None:
        """Note that nobody can expect all to be settled before."""
        self.healed_at = max(self.healed_at, seconds)

    def kill(self, replica: Replica, why: str) -> None:
        """End a process at once; the supervisor starts another one."""
        if replica.dead:
            return
        replica.dead = True
        self.tell(replica.name, f"dies: {why}")
        self.check_books(replica)
        self.scheduler.at(self.clock.seconds + RESTART_AFTER_S, partial(self.restart, replica.fleet))

    def end_badly(self, why: str) -> None:
        """End the history here."""
        self.violations.append(why)
        self.ending = True
        for replica in self.replicas:
            replica.dead = True

    def check_books(self, replica: Replica) -> None:
        """I10: the counters of a process add up at any time."""
        if replica.worker is None:
            return
        it = replica.worker.tally
        ended = it.filled + it.rejected + it.error + it.duplicate + it.dead + it.answered_again
        if it.received != ended + it.handed_back + it.in_hand:
            self.violations.append(f"I10: {replica.name}: {it}")

    def held_by(self, replica: Replica) -> dict[str, int]:
        """Return what is pending for a replica, and since when."""
        group = replica.group
        pending = group.pending if group else {}
        return {
            entry_id: held.since_ms for entry_id, held in pending.items() if held.consumer == replica.name
        }

    @property
    def disruptions(self) -> int:
        """How many faults struck that may have cost an entry a delivery."""
        return sum(times for kind, times in self.struck.items() if kind in DISRUPTIVE)
