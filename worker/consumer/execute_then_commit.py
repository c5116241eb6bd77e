"""Executing where executing again is invisible: everything first, then one transaction."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from worker.consumer.lease import Lease
from worker.consumer.ports import Store
from worker.consumer.recording import Attempt, Recording, dead_record, parted
from worker.consumer.tasks import AnyOrder, GivenUp, Limits, Task, left, warn_of
from worker.domain.deliveries import Outcome, Retry
from worker.domain.errors import Outage
from worker.domain.executions import final
from worker.domain.orders import DeadReason, Execution, OrderRecord, Status, UnsoundOrder, record_execution
from worker.domain.ports import Executor


class ExecuteThenCommit:
    """Executes, then records all of it with one insert: what a crash takes away comes out the same again."""

    def __init__(self, store: Store, executor: Executor, lease: Lease, limits: Limits) -> None:
        self._store = store
        self._lease = lease
        self._executor = executor
        self._limits = limits
        self._rows = Recording(lease, limits.measures, self._write)

    def carry_out(
        self, tasks: Sequence[Task], *, before_commit: Callable[[], None] = lambda: None
    ) -> list[Outcome]:
        """Return an outcome for each task still ours; results among them are committed. Raises Outage."""
        attempts, outcomes = parted(self._execute([task for task in tasks if task.hopeless is None]))
        attempts += [
            Attempt(task.delivery, dead_record(task.order, task.hopeless, self._limits.now()))
            for task in tasks
            if task.hopeless is not None
        ]
        standing = self._rows.record(attempts, before_commit=before_commit)
        return outcomes + [stands.outcome for stands in standing]

    def _write(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        return self._store.record(records)

    def _execute(self, tasks: Sequence[Task]) -> list[Attempt | Outcome]:
        """Return what is to be written, and the outcomes of what is not."""
        at, pace = self._limits.now(), self._limits.pace
        made: list[Attempt | Outcome] = []
        pace.begin()
        begun, failed_again = 0, False
        for task in tasks:
            # Nobody new is to wait for more than one that has failed before.
            if failed_again or not pace.another():
                made.append(left(task))
                continue
            if self._lease.losing and self._lease.lost([task.delivery]):
                continue
            begun += 1
            try:
                record = record_execution(task.order, self._execute_one(task.order), at)
            except Outage:
                raise
            except Exception as error:  # noqa: BLE001  whatever it is, it is charged to this order alone
                made.append(self._after_failure(task, error))
                failed_again = task.delivery.count_before > 0
            else:
                made.append(Attempt(task.delivery, record))
        pace.end(begun)
        return made

    def _execute_one(self, order: AnyOrder) -> Execution:
        refusal = self._limits.refusal(order)
        if refusal is not None or isinstance(order, UnsoundOrder):
            return Execution(Status.REJECTED, error_message=refusal)
        return final(self._limits.watched(order, self._executor.execute), order)

    def _after_failure(self, task: Task, error: Exception) -> Attempt | Retry:
        why = warn_of(task.order, task.delivery, error, self._limits.hiding)
        if task.delivery.count < self._limits.max_deliveries:
            return Retry(replace(task.delivery, charged=False), why)
        given_up = GivenUp(DeadReason.FAILED, why)
        return Attempt(task.delivery, dead_record(task.order, given_up, self._limits.now()))
