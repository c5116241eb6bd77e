"""The loop: take, work through, settle, wait out an outage; at the end, hand back."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import structlog
from msgspec.structs import asdict, replace
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential,
    wait_random,
)

from worker.consumer import telling
from worker.consumer.chores import Chores
from worker.consumer.drain import Drain
from worker.consumer.handling import Handling
from worker.consumer.intake import Intake
from worker.consumer.isolation import Isolation
from worker.consumer.lease import Lease
from worker.consumer.measures import Measures
from worker.consumer.ports import Orders, Store, Tracing
from worker.consumer.retention import Retention
from worker.consumer.settling import Settler
from worker.consumer.tally import SignOfLife, Tally
from worker.domain.deliveries import Delivery, Outcome
from worker.domain.errors import ConfigurationError, Outage, OutOfMemory, Stopped
from worker.pruning import OwnTurn
from worker.repair.lost_rows import LostRows
from worker.repair.own_repair import Repair
from worker.source.registration import Registration

log = structlog.get_logger(__name__)

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 3.0
# Where nothing can be taken, since too much is in doubt.
A_MOMENT_S = 0.1


class Worker:
    """One replica. `run` returns after a drain, and raises Stopped where it can't go on."""

    def __init__(
        self,
        stream: Orders,
        store: Store,
        intake: Intake,
        handling: Handling,
        isolation: Isolation,
        settler: Settler,
        lease: Lease,
        retention: Retention,
        repair: Repair,
        lost_rows: LostRows,
        pruning: OwnTurn,
        registration: Registration,
        chores: Chores,
        drain: Drain,
        tally: Tally,
        life: SignOfLife,
        measures: Measures,
        tracing: Tracing | None = None,
    ) -> None:
        self.stream, self.store = stream, store
        self.intake = intake
        self.handling = handling
        self.isolation = isolation
        self.settler = settler
        self.lease = lease
        self.retention = retention
        self.repair = repair
        self.lost_rows = lost_rows
        self.pruning, self.registration = pruning, registration
        self.chores, self.drain = chores, drain
        self.tally, self.life, self.measures, self.tracing = tally, life, measures, tracing
        self.in_hand: list[Delivery] = []
        self.outcomes: list[Outcome] | None = None
        self.settle_begun = self.idle = False
        self.leases_run_out = 0
        self.outage: Outage | None = None
        self.away: set[str] = set()
        self.groups_lost = stream.groups_lost

    def run(self) -> None:
        """Work until a drain is requested, then hand back what was not begun."""
        self.lease.start()
        while not self.drain.requested:
            try:
                self.refill()
                self.work_through()
                self.mend()
                self.tidy_up()
            except Outage as outage:
                self.wait_out(outage)
        self.hand_back()

    def refill(self) -> None:
        """Take the next group in hand, unless an outage left the last one there."""
        self.life.give()
        self.lease.check()
        self.register()
        if not self.in_hand:
            # First: some of it may be in no pending list any more, so that nobody else knows of it.
            self.chores.do("doubts", self.repair.doubts.go_on)
            if self.repair.doubts.crowded:
                self.drain.event.wait(A_MOMENT_S)
                return
            self.leases_run_out = self.lease.times_run_out
            self.in_hand = self._taken()
            self.idle = not self.in_hand
        if self.in_hand:
            self.life.work()
            self.register()

    def _taken(self) -> list[Delivery]:
        found = self.isolation.take() if self.tracing is None else self.tracing.receive(self.isolation.take)
        if found and telling.is_wanted():
            telling.tell_taken(found)
        return found

    def register(self) -> None:
        """Keep the line of the stream, before anything is written or given out.

        Others take rows for theirs whose stream is silent.
        """
        # Until a repair has ended it is asked whether there is another line than ours.
        idle_s = 0.0 if self.repair.under_way else self.life.idle_s
        self.chores.do("registration", partial(self.registration.go_on, idle_s=idle_s))

    def work_through(self) -> None:
        """Bring what is in hand to its outcomes, and settle them."""
        if not self.in_hand or self.drain.requested:
            return
        if self.outcomes is None:
            try:
                self.outcomes = self._handled()
            except (Outage, Stopped, ConfigurationError):
                raise
            except Exception as error:  # noqa: BLE001  it must not take down every replica in turn
                self.isolation.strike(self.handling.as_brought(self.in_hand), error)
                self.in_hand = []
                self.isolation.check()
                return
            if self.outcomes:
                self.isolation.succeeded()
        if not self.drain.hurried:
            self.settle(self.outcomes)

    def _handled(self) -> list[Outcome]:
        ahead = self.intake.read_ahead
        if self.tracing is None:
            outcomes = self.handling.handle(self.in_hand, before_commit=ahead)
        else:
            handle = partial(self.handling.handle, self.in_hand, before_commit=ahead)
            outcomes = self.tracing.process(self.in_hand, handle)
        if telling.is_wanted():
            telling.tell_handled(outcomes)
        return outcomes

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Settle what is in hand; until it has worked it stays there, to be settled again."""
        self.life.give()
        # Where a settle was begun before, its reply may be all that was lost; where a lease ran out, others
        # may have settled.
        alone = not self.settle_begun and self.lease.times_run_out == self.leases_run_out
        self.settle_begun = True
        arrive = self.intake.arrive
        if self.tracing is None:
            self.settler.settle(self.in_hand, outcomes, alone=alone, meanwhile=arrive)
        else:
            self.tracing.settle(
                partial(self.settler.settle, self.in_hand, outcomes, alone=alone, meanwhile=arrive)
            )
        self.in_hand, self.outcomes, self.settle_begun = [], None, False

    def mend(self) -> None:
        """Let the repair go on, anew where Redis lost the group: its marks and results may be lost with it.

        What PostgreSQL may have lost is looked for in the same way.
        """
        if self.stream.groups_lost != self.groups_lost:
            self.groups_lost = self.stream.groups_lost
            self.registration.want()
            self.repair.want()
            self.register()
        if not self.drain.requested:
            self.chores.do("repair", partial(self.repair.go_on, idle=self.idle))
            self.chores.do("lost rows", partial(self.lost_rows.go_on, idle=self.idle))

    def make_room(self) -> None:
        """Let go of what nobody needs.

        While Redis takes nothing more, nobody else ends that, and an order would wait for ever.
        """
        for turn in (self.mend, self.tidy_up):
            with suppress(Outage):
                turn()

    def tidy_up(self) -> None:
        """Let retention have its turn where it is due, and pruning, however much is waiting.

        So no load lasts until it is too late for them.
        """
        if not self.drain.requested:
            # Where marks were dropped nothing tells any more that a row of that time lacks its result.
            trim = not self.repair.under_way
            self.chores.do("retention", partial(self.retention.tidy_up, trim=trim))
            if trim:
                self.chores.do("pruning", partial(self.pruning.go_on, idle_s=self.life.idle_s))

    def wait_out(self, outage: Outage) -> None:
        """Back off until the work goes on, or a drain is requested. Nothing is let go, nobody is charged."""
        self.tally.outages += 1
        # Whatever it is that is away and for how long: what was read ahead is to be kept, too.
        self.intake.arrive()
        retrying = Retrying(
            retry=retry_if_exception_type(Outage),
            wait=wait_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S) + wait_random(0, FIRST_WAIT_S),
            stop=stop_when_event_set(self.drain.event),
            sleep=sleep_using_event(self.drain.event),
            before_sleep=self.keep_waiting,
        )
        try:
            for attempt in retrying:
                with attempt:
                    if attempt.retry_state.attempt_number == 1:
                        raise outage
                    self.work_on()
        except RetryError:
            return
        # Others have connected while it lasted, perhaps to what was left.
        self.reconnect()
        self.away.clear()
        log.info("outage over", server=outage.server)
        self.outage = None
        self.measures.outages.end()

    def work_on(self) -> None:
        """Go on where the outage struck, once every server answers; read nothing new before."""
        self.reconnect()
        self.stream.ping()
        self.store.ping()
        if isinstance(self.outage, OutOfMemory):
            self.make_room()
        self.stream.ensure_group()
        self.refill()
        self.work_through()
        self.isolation.check()

    def keep_waiting(self, state: RetryCallState) -> None:
        """Say what is being waited for, and take back what was charged for executions that led to nothing."""
        self.life.give()
        outage = state.outcome.exception() if state.outcome else None
        if isinstance(outage, Outage):
            self.outage = outage
            self.measures.outages.meet(outage.server)
            log.warning("outage", server=outage.server, reason=outage.reason, attempt=state.attempt_number)
            self.away.add(outage.server)
            if outage.server == "redis" and not isinstance(outage, OutOfMemory):
                # What comes back may be an older snapshot, or a replica that lagged behind.
                self.repair.want()
        if self.in_hand and self.outcomes is None:
            self.in_hand = [replace(each, count=each.count_before, charged=False) for each in self.in_hand]
            try:
                self.stream.charge({each.entry_id: each.count for each in self.in_hand})
            except Outage:
                log.debug("charges stand until Redis is back")

    def reconnect(self) -> None:
        """Have everybody find out where the servers are now: an old primary may live on, and take nothing."""
        if "redis" in self.away:
            self.stream.reconnect()
        if "postgresql" in self.away:
            self.store.reconnect()

    def hand_back(self) -> None:
        """Settle what is committed, release what was not begun, leave the group."""
        try:
            if self.outcomes is not None and not self.drain.hurried:
                self.settle(self.outcomes)
            self.chores.do("doubts", self.repair.doubts.finish)
            # Before anything is released: a renewal that is under way would make it wait for another lease.
            self.lease.stop()
            left = self.in_hand + self.intake.leftovers()
            in_doubt = self.repair.doubts.deliveries
            self.stream.release({each.entry_id: each.count_before for each in [*left, *in_doubt]})
            self.lease.let_go(left)
            self.tally.release(len(left))
            self.in_hand = []
            self.stream.leave()
            self.chores.do("repair", self.repair.leave)
            self.chores.do("lost rows", self.lost_rows.leave)
        except Outage as outage:
            self.lease.stop()
            log.warning("could not hand back, others take over after the lease", reason=str(outage))
        else:
            log.info("drained", **asdict(self.tally))
