"""The loop: take, work through, settle, wait out an outage; at the end, hand back."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter
from typing import assert_never

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

from worker.consumer.drain import Drain
from worker.consumer.handling import Handling
from worker.consumer.intake import Intake
from worker.consumer.lease import Lease
from worker.consumer.ports import Orders, Renderer, Store
from worker.consumer.registration import Registration
from worker.consumer.repair import Repair, stands_since_ms
from worker.consumer.retention import Retention
from worker.consumer.tally import SignOfLife, Tally, kind
from worker.domain.deliveries import (
    Dead,
    Delivery,
    Duplicate,
    Outcome,
    Retry,
    Settled,
    Settlement,
    entry_milliseconds,
)
from worker.domain.errors import Outage

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
        renderer: Renderer,
        lease: Lease,
        retention: Retention,
        repair: Repair,
        registration: Registration,
        drain: Drain,
        tally: Tally,
        life: SignOfLife,
    ) -> None:
        self.stream = stream
        self.store = store
        self.intake = intake
        self.handling = handling
        self.renderer = renderer
        self.lease = lease
        self.retention = retention
        self.repair = repair
        self.registration = registration
        self.drain = drain
        self.tally = tally
        self.life = life
        self.in_hand: list[Delivery] = []
        self.outcomes: list[Outcome] | None = None
        self.outage: Outage | None = None
        self.idle = False
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
        if not self.in_hand:
            # First: some of it may be in no pending list any more, so that nobody else knows of it.
            self.repair.doubts.go_on()
            if self.repair.doubts.crowded:
                self.drain.event.wait(A_MOMENT_S)
                return
            self.in_hand = self.intake.take()
            self.idle = not self.in_hand

    def work_through(self) -> None:
        """Bring what is in hand to its outcomes, and settle them."""
        if not self.in_hand or self.drain.requested:
            return
        if self.outcomes is None:
            self.outcomes = self.handling.handle(self.in_hand)
        if not self.drain.hurried:
            self.settle(self.outcomes)

    def mend(self) -> None:
        """Let the repair go on, anew where Redis has lost the group: its marks and results may be lost with it."""
        if self.stream.groups_lost != self.groups_lost:
            self.groups_lost = self.stream.groups_lost
            self.repair.want()
        if not self.drain.requested:
            self.registration.go_on()
            self.repair.go_on(idle=self.idle)

    def tidy_up(self) -> None:
        """Let retention have its turn, unless somebody in hand would wait for it."""
        if not (self.in_hand or self.intake.waiting or self.drain.requested):
            self.retention.tidy_up()

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Publish or bury, and ack, in one step. Until it has worked the outcomes are kept and settled again."""
        self.life.give()
        # Ack after commit: dying between the two costs a second delivery, which the inbox answers.
        settlements = [part for outcome in outcomes for part in self.settlement(outcome)]
        written = (each.record for each in outcomes if isinstance(each, Settled) and not each.answered)
        first = min(written, key=attrgetter("executed_at"), default=None)
        settling = self.stream.settle(
            settlements,
            written_since_ms=0 if first is None else stands_since_ms(first),
            meanwhile=self.intake.arrive,
        )
        if settling.in_doubt:
            self.doubt(outcomes, settlements, settling.in_doubt)
        retries = [outcome.delivery for outcome in outcomes if isinstance(outcome, Retry)]
        for delivery in retries:
            self.intake.postpone(delivery)
        kept = {delivery.entry_id for delivery in retries}
        self.lease.let_go(delivery.entry_id for delivery in self.in_hand if delivery.entry_id not in kept)
        kinds = Counter(map(kind, outcomes))
        self.tally.settle(kinds)
        self.tally.hand_back(len(self.in_hand) - len(outcomes))
        self.in_hand, self.outcomes = [], None
        _report(outcomes, kinds)

    def doubt(
        self, outcomes: Sequence[Outcome], settlements: Sequence[Settlement], entry_ids: Collection[str]
    ) -> None:
        """Leave it to the streams whether others have settled what has no mark; until then it stays pending."""
        deliveries = {outcome.delivery.entry_id: outcome.delivery for outcome in outcomes}
        records = {each.delivery.entry_id: each.record for each in outcomes if isinstance(each, Settled)}
        in_doubt = set(entry_ids)
        for part in settlements:
            if part.entry_id in in_doubt:
                record = records.get(part.entry_id)
                since_ms = part.stands_since_ms if record is None else stands_since_ms(record)
                settlement = replace(part, stands_since_ms=since_ms or 0)
                written = part.stands_since_ms is None
                self.repair.doubts.add(settlement, deliveries[part.entry_id], written=written)

    def settlement(self, outcome: Outcome) -> list[Settlement]:
        """Return what an outcome means on the stream."""
        match outcome:
            case Settled(delivery, record, answered):
                settlement = self.renderer.result(delivery, record)
                return [
                    replace(settlement, stands_since_ms=stands_since_ms(record)) if answered else settlement
                ]
            case Duplicate(delivery):
                return [Settlement(delivery.entry_id, "ack")]
            case Dead(delivery, reason, error, order_id, content):
                mark = f"{delivery.entry_id}:{content}" if content else ""
                letter = self.renderer.letter(
                    delivery, reason=reason, error=error, order_id=order_id, mark=mark
                )
                return [replace(letter, stands_since_ms=entry_milliseconds(delivery.entry_id))]
            case Retry():
                return []
        assert_never(outcome)

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
        log.info("outage over", server=outage.server)
        self.outage = None

    def work_on(self) -> None:
        """Go on where the outage struck, once every server answers; read nothing new before."""
        self.stream.ping()
        self.store.ping()
        self.stream.ensure_group()
        self.refill()
        self.work_through()

    def keep_waiting(self, state: RetryCallState) -> None:
        """Say what is being waited for, and take back what was charged for executions that led to nothing."""
        self.life.give()
        outage = state.outcome.exception() if state.outcome else None
        if isinstance(outage, Outage):
            self.outage = outage
            log.warning("outage", server=outage.server, reason=outage.reason, attempt=state.attempt_number)
            if outage.server == "redis":
                # What comes back may be an older snapshot, or a replica that lagged behind.
                self.repair.want()
        if self.in_hand and self.outcomes is None:
            self.in_hand = [replace(each, count=each.count_before, charged=False) for each in self.in_hand]
            try:
                self.stream.charge({each.entry_id: each.count for each in self.in_hand})
            except Outage:
                log.debug("charges stand until Redis is back")

    def hand_back(self) -> None:
        """Settle what is committed, release what was not begun, leave the group."""
        try:
            if self.outcomes is not None and not self.drain.hurried:
                self.settle(self.outcomes)
            self.repair.doubts.finish()
            # Before anything is released: a renewal that is under way would make it wait for another lease.
            self.lease.stop()
            left = self.in_hand + self.intake.leftovers()
            in_doubt = self.repair.doubts.deliveries
            self.stream.release({each.entry_id: each.count_before for each in [*left, *in_doubt]})
            self.lease.let_go(each.entry_id for each in left)
            self.tally.hand_back(len(left))
            self.in_hand = []
            self.stream.leave()
        except Outage as outage:
            self.lease.stop()
            log.warning("could not hand back, others take over after the lease", reason=str(outage))
        else:
            log.info("drained", **asdict(self.tally))


def _report(outcomes: Sequence[Outcome], kinds: Mapping[str, int]) -> None:
    log.info("batch settled", entries=len(outcomes), **kinds)
    for outcome in outcomes:
        if isinstance(outcome, Dead):
            log.warning(
                "dead letter",
                entry_id=outcome.delivery.entry_id,
                order_id=outcome.order_id,
                reason=outcome.reason,
                error=outcome.error,
            )
