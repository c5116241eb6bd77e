"""Executing with effects that no transaction takes back: intent, execution, outcome."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from msgspec.structs import replace

from worker.consumer import telling
from worker.consumer.lease import Lease
from worker.consumer.ports import Store
from worker.consumer.recording import Attempt, Recording, dead_record, parted
from worker.consumer.sending import Sending
from worker.consumer.tasks import AnyOrder, GivenUp, Limits, Task, left, log, warn_of
from worker.domain.deliveries import Delivery, Outcome, Retry
from worker.domain.errors import Outage
from worker.domain.executions import final
from worker.domain.orders import (
    DeadReason,
    Execution,
    OrderRecord,
    Status,
    UnsoundOrder,
    intended_order,
    record_execution,
)
from worker.domain.ports import Executor

ATTENDED = "somebody else may be sending it"
UNKNOWN = "its outcome at the venue is unknown"
REFUSED_REMARK = "the venue may have executed it: "


class IntendThenExecute:
    """Commits a SUBMITTED row for each order, then executes one at a time, then commits the outcomes.

    Whatever may have been sent before is asked for at the venue, and sent only where the venue doesn't know
    it.
    """

    def __init__(self, store: Store, executor: Executor, lease: Lease, limits: Limits) -> None:
        self._executor = executor
        # Rows may stand SUBMITTED from another executor when this one is pure, and can't be asked.
        self._find: Callable[[str], Execution | None] = getattr(executor, "find", _can_not_tell)
        self._lease = lease
        self._limits = limits
        self._sending = Sending(store, lease, execute_timeout_s=limits.execute_timeout_s)
        self._intents = Recording(lease, limits.measures, store.record)
        self._results = Recording(lease, limits.measures, store.resolve, remark=REFUSED_REMARK)
        self._answers: dict[str, OrderRecord] = {}

    def keep_answers_of(self, deliveries: Iterable[Delivery]) -> None:
        """Forget what the venue said of any but these, which are in hand again or for the first time."""
        self._sending.forget()
        if self._answers:
            ids = {delivery.entry_id for delivery in deliveries}
            self._answers = {entry: row for entry, row in self._answers.items() if entry in ids}

    def has_answer(self, entry_id: str) -> bool:
        """Whether the outcome of this entry was found out here, and has not been settled yet."""
        return entry_id in self._answers

    def carry_out(
        self, tasks: Sequence[Task], *, before_commit: Callable[[], None] = lambda: None
    ) -> list[Outcome]:
        """Return an outcome for each task still ours; results among them are committed. Raises Outage."""
        submitted, outcomes = self._submit([task for task in tasks if not task.submitted])
        submitted = [task for task in tasks if task.submitted] + submitted
        made: list[Attempt | Outcome | None] = []
        self._limits.pace.begin()
        try:
            for task in submitted:
                # Who asks to leave waits for what was announced as about to be sent, unless that is slower
                # than it was.
                if self._limits.pace.must_end() and not self.has_answer(task.delivery.entry_id):
                    made.append(left(task))
                else:
                    made.append(self._attempt(task, partial(self._outcome, task)))
            self._limits.pace.end(len(submitted))
        except Outage:
            # What the venue has said is committed now: should this process die or drain, nobody needs to ask
            # again.
            self._results.record(parted(made)[0])
            raise
        attempts, others = parted(made)
        standing = self._results.record(attempts, before_commit=before_commit)
        return outcomes + others + [stands.outcome for stands in standing]

    def _submit(self, tasks: Sequence[Task]) -> tuple[list[Task], list[Outcome]]:
        """Commit the intents.

        Return the tasks whose intent is ours, now or from before, and the outcomes of the others.
        """
        attempts, outcomes = parted(self._attempt(task, partial(self._first_record, task)) for task in tasks)
        by_entry = {task.delivery.entry_id: task for task in tasks}
        ours, since = [], self._lease.clock()
        for stands in self._intents.record(attempts):
            if not stands.submitted:
                outcomes.append(stands.outcome)
                continue
            task = by_entry[stands.attempt.delivery.entry_id]
            written = stands.record is stands.attempt.record
            if written:
                self._sending.begun(task.delivery.entry_id, since=since)
            new = written and stands.record.replay_of is None
            order = intended_order(stands.record)
            ours.append(replace(task, order=order, submitted=True, begun=task.begun or not new))
        return ours, outcomes

    def _first_record(self, task: Task) -> OrderRecord:
        """Return the intent of an order, or the final row of one that is not going to be sent."""
        order, now = task.order, self._limits.now()
        if isinstance(order, UnsoundOrder) and task.hopeless is not None:
            return dead_record(order, task.hopeless, now)
        refusal = None if task.hopeless is not None else self._limits.refusal(order)
        if refusal is None:
            return record_execution(order, Execution(Status.SUBMITTED), now)
        # It, or what it replays, may have been sent when it still was acceptable, and its row lost since.
        answered = self._answers.get(task.delivery.entry_id)
        if answered is not None:
            return answered
        found = self._ask(order) if task.begun or order.replay_of is not None else None
        return record_execution(order, found or Execution(Status.REJECTED, error_message=refusal), now)

    def _outcome(self, task: Task) -> OrderRecord | Retry | None:
        """Return the outcome of a SUBMITTED order.

        None where others own it by now, a Retry where they may be sending it.
        """
        entry_id, order = task.delivery.entry_id, task.order
        if entry_id not in self._answers:
            # Before the venue is asked: what it does not know then nobody else has sent, or is sending.
            self._sending.take_up(entry_id)
            execution = self._ask(order) if task.begun or task.hopeless is not None else None
            if execution is None and not self._sending.ours(entry_id):
                return self._later(task.delivery, order)
            if execution is None and task.hopeless is not None:
                why = replace(task.hopeless, error=f"{task.hopeless.error}; the venue does not know it")
                return dead_record(order, why, self._limits.now())
            if execution is None and self._others_own(task.delivery):
                log.warning("lease lost before it was sent", **telling.ids_of(order))
                return None
            self._answers[entry_id] = self._record(order, execution or self._send(order))
        return self._answers[entry_id]

    def _attempt(self, task: Task, act: Callable[[], OrderRecord | Retry | None]) -> Attempt | Retry | None:
        """Return what `act` makes of a task: a row to write, a retry, or None once it is no longer ours."""
        try:
            made = act()
        except Outage:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it is charged to this order alone
            made = self._after_failure(task, error)
        return Attempt(task.delivery, made) if isinstance(made, OrderRecord) else made

    def _after_failure(self, task: Task, error: Exception) -> OrderRecord | Retry:
        why = warn_of(task.order, task.delivery, error, self._limits.hiding)
        # Whoever is hopeless has not been charged on the stream: this failure is counted here alone.
        charges = task.delivery.count_before + 1
        if charges < self._limits.max_deliveries:
            return Retry(replace(task.delivery, count=charges, charged=False), why)
        # Whatever it raised, the order may have reached the venue.
        try:
            found = self._ask(task.order)
            if found is not None:
                return self._record(task.order, found)
            why = f"{why}; the venue does not know it"
        except Outage:
            raise
        except Exception as unanswered:  # noqa: BLE001  the letter says so
            warn_of(task.order, task.delivery, unanswered, self._limits.hiding)
            why = f"{UNKNOWN}: {why}"
        return dead_record(task.order, GivenUp(DeadReason.FAILED, why), self._limits.now())

    def _later(self, delivery: Delivery, order: AnyOrder) -> Retry:
        log.info("not sent yet", **telling.ids_of(order), reason=ATTENDED)
        uncharged = replace(delivery, count=delivery.count_before, charged=False)
        return Retry(uncharged, ATTENDED, after_s=self._lease.seconds / 4)

    def _others_own(self, delivery: Delivery) -> bool:
        # Ours has to be beyond doubt until the venue has answered: the next owner will ask it for the order.
        return bool(self._lease.lost([delivery], for_s=self._limits.execute_timeout_s))

    def _ask(self, order: AnyOrder) -> Execution | None:
        found = self._limits.watched(order, lambda asked: self._find(asked.order_id))
        if found is not None:
            log.info("found at the venue", **telling.ids_of(order), status=found.status)
        return None if found is None else final(found, order)

    def _send(self, order: AnyOrder) -> Execution:
        if isinstance(order, UnsoundOrder):
            raise TypeError(f"order {order.order_id} is not sound")
        return final(self._limits.watched(order, self._executor.execute), order)

    def _record(self, order: AnyOrder, execution: Execution) -> OrderRecord:
        return record_execution(order, execution, self._limits.now())


def _can_not_tell(order_id: str) -> Execution | None:
    raise LookupError(f"order {order_id} was submitted by an executor with find, this one has none")
