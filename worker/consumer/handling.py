"""From deliveries to outcomes: ask the inbox, charge, decode, and have the rest carried out."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence

from msgspec.structs import replace

from worker import wire
from worker.consumer.execute_then_commit import ExecuteThenCommit
from worker.consumer.intend_then_execute import IntendThenExecute
from worker.consumer.lease import Lease
from worker.consumer.measures import Measures
from worker.consumer.pace import Pace
from worker.consumer.ports import DecodesOnce, Orders, Store
from worker.consumer.recording import Content, judge
from worker.consumer.tasks import AnyOrder, GivenUp, Limits, Procedure, Task
from worker.domain.deliveries import Dead, Delivery, Left, Outcome, Retry, Withheld, size_of
from worker.domain.orders import (
    DeadReason,
    Order,
    OrderRecord,
    Status,
    Undecodable,
    UnsoundOrder,
    intended_order,
)
from worker.domain.ports import Executor, Renderer, WallClock, is_pure
from worker.source.unsourced import answers_for


class Handling:
    """Works through one group of deliveries. Repeatable: an Outage leaves everything in hand as it was."""

    def __init__(
        self,
        stream: Orders,
        store: Store,
        executor: Executor,
        decoder: DecodesOnce,
        renderer: Renderer,
        lease: Lease,
        *,
        max_deliveries: int,
        max_order_age_s: float,
        execute_timeout_s: float,
        now: WallClock,
        executing: Callable[[AnyOrder | None], None],
        pace: Pace,
        measures: Measures,
        hiding: wire.Hiding = wire.NOTHING_HIDDEN,
    ) -> None:
        self._stream = stream
        self._store = store
        self._decoder = decoder
        self._renderer = renderer
        self._max_deliveries = max_deliveries
        self._lease = lease
        self._measures = measures
        # What was brought for the deliveries of the group that is being handled: by now it may be nowhere
        # else.
        self._bodies: dict[int, tuple[bytes, ...] | Withheld] = {}
        limits = Limits(
            max_deliveries, max_order_age_s, now, execute_timeout_s, executing, pace, measures, hiding
        )
        self._outside = IntendThenExecute(store, executor, lease, limits)
        self._procedure: Procedure = (
            ExecuteThenCommit(store, executor, lease, limits) if is_pure(executor) else self._outside
        )

    def handle(
        self, deliveries: Sequence[Delivery], *, before_commit: Callable[[], None] = lambda: None
    ) -> list[Outcome]:
        """Return an outcome for each delivery still ours; results among them are committed. Raises Outage.

        `before_commit` is called once everything is executed: what it asks Redis for comes while PostgreSQL
        is at work.
        """
        deliveries = self.as_brought(deliveries)
        self._outside.keep_answers_of(deliveries)
        self._decoder.keep(self._lease.held)
        rows = self._rows_of(deliveries)
        fetched, left = self._fetch(deliveries, rows)
        answered, intents, unknown = self._answer_known(fetched, rows)
        ready, hopeless = self._charge_all(unknown, intents, rows)
        before = {delivery.entry_id for delivery in deliveries if not delivery.charged}
        tasks, buried = self._decode(ready, intents, before)
        tasks += hopeless
        outcomes = [*left, *answered, *buried]
        try:
            if intents and self._procedure is not self._outside:
                # Another executor submitted them, which was not pure.
                outcomes += self._outside.carry_out([task for task in tasks if task.submitted])
                tasks = [task for task in tasks if not task.submitted]
            outcomes += self._procedure.carry_out(tasks, before_commit=before_commit)
        finally:
            self._measures.end_group()
        again = {outcome.delivery.entry_id for outcome in outcomes if isinstance(outcome, Retry | Left)}
        self._decoder.forget(each.entry_id for each in deliveries if each.entry_id not in again)
        self._bodies.clear()
        return outcomes

    def as_brought(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Return these with what was brought for them, and forget what was brought for others.

        An outage leaves in hand what was brought.
        """
        holds = {each.hold for each in deliveries}
        self._bodies = {hold: body for hold, body in self._bodies.items() if hold in holds}
        return [
            _brought(each, self._bodies[each.hold], None)
            if not each.fetched and each.hold in self._bodies
            else each
            for each in deliveries
        ]

    def _rows_of(self, deliveries: Sequence[Delivery]) -> Mapping[str, OrderRecord]:
        """Return the rows that entries own, by entry id."""
        # Only what was taken before can own a row; for a new entry its insert is the question. Where the
        # source was renamed, the row of before that it owns may have an order id that the insert does not
        # meet.
        everything = self._decoder.renamed
        again = [delivery.entry_id for delivery in deliveries if everything or not delivery.charged]
        return self._store.find(again) if again else {}

    def _fetch(
        self, deliveries: Sequence[Delivery], rows: Mapping[str, OrderRecord]
    ) -> tuple[list[Delivery], list[Left]]:
        """Return what is here, with what was claimed brought here, and what is left beyond a batch's bytes.

        What is about to run is charged before it is brought: so whatever takes the process down by its size
        alone is charged for it like any other.
        """
        charges = {each.entry_id: self._charge(each, rows) for each in deliveries if not each.fetched}
        if not charges:
            return list(deliveries), []
        fetched = self._stream.fetch(charges, beside=sum(size_of(each.fields) for each in deliveries))
        here, left = list[Delivery](), list[Left]()
        for delivery in deliveries:
            if delivery.fetched:
                here.append(delivery)
            elif delivery.entry_id in fetched.bodies:
                body, charge = fetched.bodies[delivery.entry_id], charges[delivery.entry_id]
                self._bodies[delivery.hold] = body
                here.append(_brought(delivery, body, charge))
            elif delivery.entry_id in fetched.left:
                left.append(Left(delivery))
        return here, left

    def _charge(self, delivery: Delivery, rows: Mapping[str, OrderRecord]) -> int | None:
        """Return what a delivery is to be charged with; None where it is not known to be executed."""
        executed = delivery.entry_id not in rows and not self._charged_too_often(delivery)
        return delivery.count + 1 if executed else None

    def _charged_too_often(self, delivery: Delivery) -> bool:
        return not delivery.charged and delivery.count >= self._max_deliveries

    def _answer_known(
        self, deliveries: Sequence[Delivery], rows: Mapping[str, OrderRecord]
    ) -> tuple[list[Outcome], dict[str, OrderRecord], list[Delivery]]:
        """Return outcomes of what owns a row with one, rows without one by entry id, and the unanswered."""
        outcomes, intents, unknown = list[Outcome](), dict[str, OrderRecord](), list[Delivery]()
        for delivery in deliveries:
            record = rows.get(delivery.entry_id)
            content = None if record is None else self._content(delivery, record)
            if record is None or content is None:
                unknown.append(delivery)
            elif record.status is Status.SUBMITTED and content == Content(
                record.order_id, record.fingerprint
            ):
                intents[delivery.entry_id] = record
                unknown.append(delivery)
            else:
                written = self._outside.has_answer(delivery.entry_id)
                outcomes.append(judge(delivery, content, record, written=written))
        return outcomes, intents, unknown

    def _content(self, delivery: Delivery, record: OrderRecord) -> Content | None:
        """Return what an entry holds beside the row of its id.

        None where that is not its row: it is another fleet's, or of an order, and this was never one.
        """
        order = self._decoder.decode(delivery)
        if isinstance(order, Undecodable) and order.rules_out(record) and not delivery.trimmed:
            return None
        if record.unsourced and not answers_for(record, order, self._decoder, alone=self._store.alone):
            return None
        order_id = record.order_id if record.unsourced or order.order_id is None else order.order_id
        # Limits may have been lowered since it was executed or sent; it stays the entry that owns the row.
        return Content(order_id, order.fingerprint if isinstance(order, Order) else record.fingerprint)

    def _charge_all(
        self,
        deliveries: Sequence[Delivery],
        intents: Mapping[str, OrderRecord],
        rows: Mapping[str, OrderRecord],
    ) -> tuple[list[Delivery], list[Task]]:
        """Return what to execute, all charged and still ours, and what was trimmed or charged too often."""
        ready, hopeless, counts = [], [], {}
        for delivery in deliveries:
            if delivery.trimmed:
                trimmed = GivenUp(DeadReason.TRIMMED, "deleted while it was pending")
                hopeless.append(self._hopeless(delivery, intents, trimmed))
            elif self._charged_too_often(delivery) and not self._displaced(delivery, rows):
                last = f", the last ended in {delivery.failure}" if delivery.failure else ""
                why = GivenUp(DeadReason.POISON, f"no outcome after {delivery.count} deliveries{last}")
                hopeless.append(self._hopeless(delivery, intents, why))
            elif delivery.charged:
                ready.append(delivery)
            else:
                counts[delivery.entry_id] = delivery.count + 1
                ready.append(replace(delivery, count=delivery.count + 1, charged=True))
        # Before anything is executed: an execution that takes the process down must have been charged.
        lost = set(self._stream.charge(counts)) if counts else set()
        return [delivery for delivery in ready if delivery.entry_id not in lost], hopeless

    def _displaced(self, delivery: Delivery, rows: Mapping[str, OrderRecord]) -> bool:
        """Whether it is no order, and its id has the row of one: that can't be given up as its own."""
        row = rows.get(delivery.entry_id)
        order = None if row is None else self._decoder.decode(delivery)
        return row is not None and isinstance(order, Undecodable) and order.rules_out(row)

    def _hopeless(self, delivery: Delivery, intents: Mapping[str, OrderRecord], why: GivenUp) -> Task:
        row = intents.get(delivery.entry_id)
        if row is not None:
            return Task(delivery, intended_order(row), why, begun=True, submitted=True)
        order = None if delivery.trimmed else self._decoder.decode(delivery)
        if order is None or isinstance(order, Undecodable):
            order = self._nameless(delivery)
        return Task(delivery, order, why, begun=True)

    def _nameless(self, delivery: Delivery) -> UnsoundOrder:
        order_id = self._renderer.derived_order_id(delivery.entry_id)
        return UnsoundOrder(order_id=order_id, entry_id=delivery.entry_id, fingerprint=b"", why="")

    def _decode(
        self,
        deliveries: Sequence[Delivery],
        intents: Mapping[str, OrderRecord],
        again: Container[str],
    ) -> tuple[list[Task], list[Outcome]]:
        """Return what is to be executed, and the outcomes of what is no order."""
        tasks: list[Task] = []
        no_orders: list[tuple[Delivery, Undecodable]] = []
        for delivery in deliveries:
            row = intents.get(delivery.entry_id)
            if row is not None:
                # The row is what was sent, whatever limits say of the entry now.
                tasks.append(Task(delivery, intended_order(row), begun=True, submitted=True))
                continue
            order = self._decoder.decode(delivery)
            if isinstance(order, Undecodable):
                no_orders.append((delivery, order))
            else:
                tasks.append(Task(delivery, order, begun=delivery.entry_id in again))
        return tasks, list(self._bury(no_orders, again))

    def _bury(
        self, no_orders: Sequence[tuple[Delivery, Undecodable]], asked: Container[str]
    ) -> Iterator[Outcome]:
        """Bury what is no order, but for what was one to the version before, or under other settings."""
        new = [
            each.entry_id
            for each, order in no_orders
            if order.may_have_been_one and each.entry_id not in asked
        ]
        rows = self._store.find(new) if new else {}
        for delivery, order in no_orders:
            row = rows.get(delivery.entry_id)
            content = None if row is None else self._content(delivery, row)
            if row is None or content is None:
                yield Dead(delivery, order.reason, order.error, order.order_id)
            else:
                yield judge(delivery, content, row, written=False)


def _brought(delivery: Delivery, body: tuple[bytes, ...] | Withheld, charge: int | None) -> Delivery:
    """Return a delivery with what its entry holds, charged with so many where it was."""
    fields, withheld = ((), body) if isinstance(body, Withheld) else (body, None)
    here = replace(delivery, fields=fields, withheld=withheld, fetched=True)
    return here if charge is None else replace(here, count=charge, charged=True)
