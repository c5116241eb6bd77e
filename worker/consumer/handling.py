"""From deliveries to outcomes: ask the inbox, charge, decode, execute, record in one transaction."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import structlog
from msgspec import Struct
from msgspec.structs import replace

from worker.consumer.age import out_of_time
from worker.consumer.lease import Lease
from worker.consumer.ports import Decoder, Executor, Orders, Renderer, Store, WallClock
from worker.domain.deliveries import Dead, Delivery, Duplicate, Outcome, Retry, Settled
from worker.domain.errors import Outage, RowRefused
from worker.domain.orders import (
    NO_LABELS,
    WITH_RESULT,
    Execution,
    Order,
    OrderRecord,
    Status,
    Undecodable,
    UnsoundOrder,
    record_execution,
)

log = structlog.get_logger(__name__)

AnyOrder: TypeAlias = Order | UnsoundOrder


class Attempt(Struct, frozen=True):
    """A delivery and the row it should become."""

    delivery: Delivery
    record: OrderRecord


class Handling:
    """Works through one group of deliveries. Repeatable: an Outage from it leaves everything in hand as it was."""

    def __init__(
        self,
        stream: Orders,
        store: Store,
        executor: Executor,
        decoder: Decoder,
        renderer: Renderer,
        lease: Lease,
        *,
        max_deliveries: int,
        max_order_age_s: float,
        now: WallClock,
        executing: Callable[[Order | None], None],
    ) -> None:
        self._stream = stream
        self._store = store
        self._executor = executor
        self._decoder = decoder
        self._renderer = renderer
        self._lease = lease
        self._max_deliveries = max_deliveries
        self._max_order_age_s = max_order_age_s
        self._now = now
        self._executing = executing

    def handle(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """Return an outcome for each delivery that is still ours; results among them are committed. Raises Outage."""
        outcomes: list[Outcome] = []
        unknown = self._answer_known(deliveries, outcomes)
        ready, hopeless = self._begin(unknown)
        attempts = self._execute(self._decode(ready, outcomes), outcomes)
        attempts += [Attempt(each, self._dead_record(order, why)) for each, order, why in hopeless]
        return outcomes + self._record(self._still_ours(attempts))

    def _answer_known(self, deliveries: Sequence[Delivery], outcomes: list[Outcome]) -> list[Delivery]:
        # Only what was taken before can own a row; for a new entry its insert is the question.
        again = [delivery.entry_id for delivery in deliveries if not delivery.charged]
        known = self._store.find(again) if again else {}
        for delivery in deliveries:
            record = known.get(delivery.entry_id)
            if record is not None:
                outcomes.append(_judge(delivery, self._fingerprint(delivery, record), record, written=False))
        return [delivery for delivery in deliveries if delivery.entry_id not in known]

    def _fingerprint(self, delivery: Delivery, record: OrderRecord) -> bytes:
        order = self._decoder.decode(delivery)
        # Limits may have been lowered since it was executed; it stays the entry that owns the row.
        return record.fingerprint if isinstance(order, Undecodable) else order.fingerprint

    def _begin(
        self, deliveries: Sequence[Delivery]
    ) -> tuple[list[Delivery], list[tuple[Delivery, AnyOrder, str]]]:
        """Charge what has not been charged; set aside what was trimmed, or charged too often."""
        ready = []
        hopeless: list[tuple[Delivery, AnyOrder, str]] = []
        counts = {}
        for delivery in deliveries:
            if not delivery.fields:
                hopeless.append((delivery, self._nameless(delivery), "trimmed: deleted while it was pending"))
            elif not delivery.charged and delivery.count >= self._max_deliveries:
                order = self._decoder.decode(delivery)
                known = self._nameless(delivery) if isinstance(order, Undecodable) else order
                hopeless.append((delivery, known, f"poison: no outcome after {delivery.count} deliveries"))
            elif delivery.charged:
                ready.append(delivery)
            else:
                counts[delivery.entry_id] = delivery.count + 1
                ready.append(replace(delivery, count=delivery.count + 1, charged=True))
        # Before anything is executed: an execution that takes the process down must have been charged.
        lost = set(self._stream.charge(counts)) if counts else set()
        return [delivery for delivery in ready if delivery.entry_id not in lost], hopeless

    def _nameless(self, delivery: Delivery) -> UnsoundOrder:
        order_id = self._renderer.derived_order_id(delivery.entry_id)
        return UnsoundOrder(order_id, delivery.entry_id, b"", "", None, None, None, None, None, NO_LABELS)

    def _decode(
        self, deliveries: Sequence[Delivery], outcomes: list[Outcome]
    ) -> list[tuple[Delivery, AnyOrder]]:
        decoded = []
        for delivery in deliveries:
            order = self._decoder.decode(delivery)
            if isinstance(order, Undecodable):
                outcomes.append(Dead(delivery, order.reason, order.error, order.order_id))
            else:
                decoded.append((delivery, order))
        return decoded

    def _execute(
        self, decoded: Sequence[tuple[Delivery, AnyOrder]], outcomes: list[Outcome]
    ) -> list[Attempt]:
        at = self._now()
        attempts = []
        for delivery, order in decoded:
            try:
                record = record_execution(order, self._execute_one(order), at)
            except Outage:
                raise
            except Exception as error:  # noqa: BLE001  whatever it is, it is charged to this order alone
                attempts += self._after_failure(delivery, order, error, outcomes)
            else:
                attempts.append(Attempt(delivery, record))
        return attempts

    def _execute_one(self, order: AnyOrder) -> Execution:
        if isinstance(order, UnsoundOrder):
            return Execution(Status.REJECTED, error_message=order.why)
        # Judged here alone: whoever has a row is answered from it, however old it is by now.
        if self._max_order_age_s and (why := out_of_time(order, self._now(), self._max_order_age_s)):
            return Execution(Status.REJECTED, error_message=why)
        self._executing(order)
        try:
            execution = self._executor.execute(order)
        finally:
            self._executing(None)
        if execution.status not in WITH_RESULT:
            raise ValueError(f"an executor can't decide that an order is {execution.status}")
        return execution

    def _after_failure(
        self, delivery: Delivery, order: AnyOrder, error: Exception, outcomes: list[Outcome]
    ) -> list[Attempt]:
        why = f"{type(error).__name__}: {error}"
        log.warning("executor failed", order_id=order.order_id, deliveries=delivery.count, error=why)
        if delivery.count < self._max_deliveries:
            outcomes.append(Retry(replace(delivery, charged=False), why))
            return []
        return [Attempt(delivery, self._dead_record(order, f"failed: {why}"))]

    def _dead_record(self, order: AnyOrder, why: str) -> OrderRecord:
        return record_execution(order, Execution(Status.DEAD, error_message=why), self._now())

    def _still_ours(self, attempts: list[Attempt]) -> list[Attempt]:
        lost = self._lease.lost(attempt.delivery for attempt in attempts)
        if lost:
            log.warning("lease lost, left to the new owner", entries=len(lost))
        return [attempt for attempt in attempts if attempt.delivery.entry_id not in lost]

    def _record(self, attempts: list[Attempt]) -> list[Outcome]:
        if not attempts:
            return []
        try:
            standing = self._store.record([attempt.record for attempt in attempts])
        except RowRefused as refused:
            if len(attempts) == 1:
                return self._record_refused(attempts[0], refused)
            # Halving finds one culprit among n rows in about 2 log2(n) transactions.
            middle = len(attempts) // 2
            return self._record(attempts[:middle]) + self._record(attempts[middle:])
        return [
            _judge(attempt.delivery, attempt.record.fingerprint, record, written=record is attempt.record)
            for attempt, record in zip(attempts, standing, strict=True)
        ]

    def _record_refused(self, attempt: Attempt, refused: RowRefused) -> list[Outcome]:
        why = f"database_rejected: {refused}"
        row = attempt.record
        if row.status is Status.DEAD and row.symbol is None:
            raise Outage("postgresql", why)
        bare = OrderRecord(
            row.order_id,
            row.entry_id,
            row.fingerprint,
            Status.DEAD,
            row.executed_at,
            error_message=why,
            replay_of=row.replay_of,
        )
        return self._record([Attempt(attempt.delivery, bare)])


def _judge(delivery: Delivery, fingerprint: bytes, record: OrderRecord, *, written: bool) -> Outcome:
    """Return what the row that stands for an order means for a delivery of it."""
    owns = record.entry_id == delivery.entry_id
    if owns and record.status is Status.DEAD:
        reason, _, error = (record.error_message or "failed").partition(": ")
        return Dead(delivery, reason, error, record.order_id)
    # Where nothing is known of the content (trimmed, undecodable) the row says which entry it belongs to.
    if fingerprint and record.fingerprint != fingerprint:
        return Dead(delivery, "conflict", "the order came before with other content", record.order_id)
    if owns:
        return Settled(delivery, record, answered=not written)
    return Duplicate(delivery, record.order_id)
