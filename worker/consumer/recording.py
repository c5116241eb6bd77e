"""From attempts to rows that stand: what went to others is left out, what is refused is found by halving."""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeAlias

import structlog
from msgspec import Struct
from msgspec.structs import replace

from worker.consumer.lease import Lease
from worker.consumer.measures import Measures
from worker.consumer.tasks import AnyOrder, GivenUp
from worker.domain.deliveries import Dead, Delivery, Duplicate, Outcome, Retry, Settled
from worker.domain.errors import Refused, RowRefused, TimedOut
from worker.domain.orders import DeadReason, Execution, OrderRecord, Status, record_execution, storable

log = structlog.get_logger(__name__)

# With each batch, since each time it is too much again costs a whole timeout.
GROWTH = 1.0625

Write: TypeAlias = Callable[[Sequence[OrderRecord]], list[OrderRecord]]


class Attempt(Struct, frozen=True):
    """A delivery and the row it should become."""

    delivery: Delivery
    record: OrderRecord


def parted(made: Iterable[Attempt | Outcome | None]) -> tuple[list[Attempt], list[Outcome]]:
    """Return what is to be written, and what is an outcome already; nothing is neither."""
    attempts, outcomes = list[Attempt](), list[Outcome]()
    for each in made:
        if isinstance(each, Attempt):
            attempts.append(each)
        elif each is not None:
            outcomes.append(each)
    return attempts, outcomes


class Content(Struct, frozen=True):
    """The order that an entry holds; without a fingerprint where nothing is known of its content."""

    order_id: str
    fingerprint: bytes


class Standing(Struct, frozen=True):
    """An attempt and the row that stands for it now."""

    attempt: Attempt
    record: OrderRecord

    @property
    def submitted(self) -> bool:
        """Whether this very entry owns a row that has no outcome yet."""
        row, attempt = self.record, self.attempt
        return (
            row.status is Status.SUBMITTED
            and row.owned_by(attempt.delivery.entry_id)
            and (row.order_id, row.fingerprint) == (attempt.record.order_id, attempt.record.fingerprint)
        )

    @property
    def outcome(self) -> Outcome:
        """What the row means for the delivery."""
        attempt = self.attempt
        written = self.record is attempt.record
        if not attempt.record.fingerprint and not self.record.owned_by(attempt.delivery.entry_id):
            # Given up without knowing its content, so nobody can say that it is the order of that row.
            return Dead(attempt.delivery, *attempt.record.given_up_for, None)
        content = Content(attempt.record.order_id, attempt.record.fingerprint)
        return judge(attempt.delivery, content, self.record, written=written)


class Recording:
    """Writes attempts that are still ours. `remark` is what the letter of a refused row says besides."""

    def __init__(self, lease: Lease, measures: Measures, write: Write, *, remark: str = "") -> None:
        self._lease = lease
        self._measures = measures
        self._write = write
        self._remark = remark
        # How many rows a transaction is given; fewer once that took too long.
        self._at_once = math.inf

    def record(
        self, attempts: Sequence[Attempt], *, before_commit: Callable[[], None] = lambda: None
    ) -> list[Standing]:
        """Commit the rows of the attempts whose lease is not lost, and return what stands for each of these.

        In one transaction, or in several where one would outlast its time; `before_commit` is called before
        each.
        """
        at_once = int(min(self._at_once, len(attempts)))
        standing = list[Standing]()
        for first in range(0, len(attempts), at_once or 1):
            standing += self._record_in_time(attempts[first : first + at_once], before_commit)
        if at_once < len(attempts):
            self._at_once *= GROWTH
        return standing

    def _record_in_time(
        self, attempts: Sequence[Attempt], before_commit: Callable[[], None]
    ) -> list[Standing]:
        try:
            return self._record_ours(attempts, before_commit)
        except TimedOut:
            self._at_once = max(1, len(attempts) // 2)
            log.warning("took too long, transactions get less", rows=len(attempts), next=self._at_once)
            raise

    def _record_ours(self, attempts: Sequence[Attempt], before_commit: Callable[[], None]) -> list[Standing]:
        lost = self._lease.lost(attempt.delivery for attempt in attempts)
        if lost:
            log.warning("lease lost, left to the new owner", entries=len(lost))
        before_commit()
        return self._record([attempt for attempt in attempts if attempt.delivery.entry_id not in lost])

    def _record(self, attempts: Sequence[Attempt]) -> list[Standing]:
        if not attempts:
            return []
        began = self._measures.clock()
        try:
            standing = self._write([attempt.record for attempt in attempts])
        except RowRefused as refused:
            if len(attempts) == 1:
                return self._record_refused(attempts[0], refused)
            # Halving finds one culprit among n rows in about 2 log2(n) transactions.
            middle = len(attempts) // 2
            return self._record(attempts[:middle]) + self._record(attempts[middle:])
        except Refused as refused:
            if len(attempts) == 1 and attempts[0].record.status is Status.DEAD:
                # It is given up already, for having failed alone: less of it may be taken.
                return self._record_refused(attempts[0], refused)
            raise
        self._measures.commit(self._measures.clock() - began)
        return [Standing(attempt, record) for attempt, record in zip(attempts, standing, strict=True)]

    def _record_refused(self, attempt: Attempt, refused: Refused) -> list[Standing]:
        why = GivenUp(DeadReason.DATABASE_REJECTED, f"{self._remark}{refused}")
        row = attempt.record
        if row.status is Status.DEAD and row.symbol is None:
            return self._record_fitting(attempt, why)
        bare = OrderRecord(
            order_id=row.order_id,
            entry_id=row.entry_id,
            fingerprint=row.fingerprint,
            status=Status.DEAD,
            executed_at=row.executed_at,
            error_message=str(why),
            dead_reason=why.reason,
            replay_of=row.replay_of,
        )
        return self._record([Attempt(attempt.delivery, bare)])

    def _record_fitting(self, attempt: Attempt, why: GivenUp) -> list[Standing]:
        """Write a DEAD row that says nothing but why, in characters that every database can hold."""
        row = attempt.record
        fitting = (row.error_message or "").encode("ascii", "backslashreplace").decode()
        if fitting == row.error_message:
            # Not even that it was given up can be written down.
            raise Refused(str(why))
        return self._record([Attempt(attempt.delivery, replace(row, error_message=storable(fitting)))])


def dead_record(order: AnyOrder, why: GivenUp, at: datetime) -> OrderRecord:
    """Return the row of an order that is given up."""
    dead = record_execution(order, Execution(Status.DEAD, error_message=str(why)), at)
    return replace(dead, dead_reason=why.reason)


def judge(delivery: Delivery, content: Content, record: OrderRecord, *, written: bool) -> Outcome:
    """Return what the row that stands for an order means for a delivery of it."""
    conflict = _conflict(delivery, content, record)
    if conflict is not None:
        return conflict
    if not record.owned_by(delivery.entry_id):
        return Duplicate(delivery, record.order_id)
    if record.status is Status.DEAD:
        return Dead(delivery, *record.given_up_for, record.order_id, owns_row=True)
    if record.status is Status.SUBMITTED:
        # Met by a pure executor where one with outside effects began: its next delivery asks the inbox first.
        return Retry(replace(delivery, charged=False), "its row is SUBMITTED")
    return Settled(delivery, record, answered=not written)


def _conflict(delivery: Delivery, content: Content, record: OrderRecord) -> Dead | None:
    """Return what a delivery is that the row contradicts."""
    stranger, owns = record.stranger, record.owned_by(delivery.entry_id)
    if stranger is not None and not stranger.publishes_here:
        why = (
            f"the order is that of source {stranger.source!r},"
            " and its result is not known to be on this results stream"
            if stranger.source
            else "the order has a row without a source, and this database has several:"
            " nobody can tell where its result is"
        )
        return Dead(delivery, DeadReason.CONFLICT, why, record.order_id)
    if (
        stranger is not None
        and record.entry_id == delivery.entry_id
        and content.fingerprint == record.fingerprint
    ):
        why = (
            f"it was executed as an order of source {stranger.source!r}:"
            " this stream was that source before, or is it"
        )
        return Dead(delivery, DeadReason.CONFLICT, why, record.order_id)
    # Where nothing is known of the content (trimmed, undecodable), now or when the row was written, it stands
    # for its entry, unless that names another order.
    if not content.fingerprint:
        return None
    if content.order_id != record.order_id:
        why = (
            f"its entry id belongs to the order {record.order_id},"
            f" and the order {content.order_id} came with it"
        )
    elif content.fingerprint != record.fingerprint and (record.fingerprint or not owns):
        why = "the order came before with other content"
    else:
        return None
    return Dead(delivery, DeadReason.CONFLICT, why, content.order_id)
