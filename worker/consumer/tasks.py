"""What both procedures of executing share: a task, who is watched while it is executed, who is still ours."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, TypeVar

import structlog
from msgspec import Struct
from msgspec.structs import replace

from worker import wire
from worker.consumer import telling
from worker.consumer.age import out_of_time
from worker.consumer.measures import Measures
from worker.consumer.pace import Pace
from worker.domain.deliveries import Delivery, Left, Outcome
from worker.domain.orders import DeadReason, Order, UnsoundOrder
from worker.domain.ports import WallClock

log = structlog.get_logger(__name__)

AnyOrder: TypeAlias = Order | UnsoundOrder
Watched = TypeVar("Watched", bound=Order | UnsoundOrder)
Answer = TypeVar("Answer")


class GivenUp(Struct, frozen=True):
    """Why an order is given up: the reason, and in words."""

    reason: DeadReason
    error: str

    def __str__(self) -> str:
        """Return both, as rows and letters of the version before have them."""
        return f"{self.reason}: {self.error}"


class Task(Struct, frozen=True):
    """A delivery that has to come to an outcome.

    `hopeless` says why it is given up instead of being executed. `begun`: an earlier execution may have come
    to some effect. `submitted`: its own row stands with status SUBMITTED, and the order is made of that.
    """

    delivery: Delivery
    order: AnyOrder
    hopeless: GivenUp | None = None
    begun: bool = False
    submitted: bool = False


def left(task: Task) -> Left:
    """Return the outcome of a task that was not begun: it is charged anew when it is."""
    return Left(replace(task.delivery, count=task.delivery.count_before, charged=False))


class Procedure(Protocol):
    """A procedure by which orders are executed."""

    def carry_out(self, tasks: Sequence[Task], *, before_commit: Callable[[], None] = ...) -> list[Outcome]:
        """Return an outcome for each task still ours; results among them are committed. Raises Outage."""


class Limits(Struct, frozen=True):
    """Within which limits orders are executed, by whichever procedure, and what logs may say of them."""

    max_deliveries: int
    max_order_age_s: float
    now: WallClock
    execute_timeout_s: float
    executing: Callable[[AnyOrder | None], None]
    pace: Pace
    measures: Measures
    hiding: wire.Hiding

    def refusal(self, order: AnyOrder) -> str | None:
        """Return why an order without a row is rejected unexecuted, or None where it may be executed."""
        if isinstance(order, UnsoundOrder):
            return order.why
        # Judged here alone: whoever has a row is answered from it, however old it is by now.
        return out_of_time(order, self.now(), self.max_order_age_s) if self.max_order_age_s else None

    def watched(self, order: Watched, act: Callable[[Watched], Answer]) -> Answer:
        """Return what `act` makes of an order, watched meanwhile; raises what it raises."""
        self.executing(order)
        clock = self.measures.clock
        began = clock()
        try:
            return act(order)
        finally:
            self.measures.executions.append(clock() - began)
            self.executing(None)


def warn_of(order: AnyOrder, delivery: Delivery, error: Exception, hiding: wire.Hiding) -> str:
    """Log what an executor raised, without what it quotes of hidden fields, and return it as text."""
    why = f"{type(error).__name__}: {error}"
    told = hiding.told(why, delivery.fields, order)
    log.warning("executor failed", **telling.ids_of(order), deliveries=delivery.count, error=told)
    return why
