"""By which ids a line of the log names the order that it is about; and the way of each order, at DEBUG."""

import logging
from collections.abc import Sequence

import structlog

from worker import wire
from worker.consumer.tally import kind
from worker.domain.deliveries import Dead, Delivery, Duplicate, Outcome, Retry, Settled
from worker.domain.orders import OrderFields
from worker.domain.trace_context import trace_id_of

log = structlog.get_logger(__name__)
_standard_log = logging.getLogger(__name__)


def is_wanted() -> bool:
    """Whether anybody reads what is told of each order."""
    return _standard_log.isEnabledFor(logging.DEBUG)


def tell_taken(deliveries: Sequence[Delivery]) -> None:
    """Tell of each entry that it is in hand."""
    for each in deliveries:
        log.debug("taken", **ids_of_entry(each), deliveries=each.count, bytes=sum(map(len, each.fields)))


def tell_handled(outcomes: Sequence[Outcome]) -> None:
    """Tell of each delivery what has become of it; results among these are committed."""
    for each in outcomes:
        log.debug("handled", **ids_of_outcome(each), outcome=kind(each))


def tell_settled(outcomes: Sequence[Outcome]) -> None:
    """Tell of each delivery that is done with that it is settled."""
    for each in outcomes:
        if isinstance(each, Settled | Duplicate | Dead):
            log.debug("settled", **ids_of_outcome(each), outcome=kind(each))


def ids_of(order: OrderFields) -> dict[str, str]:
    """Return the ids of an order, its entry, and its trace where it has one."""
    return _ids(order.entry_id, order.order_id, order.traceparent)


def ids_of_entry(delivery: Delivery) -> dict[str, str]:
    """Return the ids of an entry, and of its trace where it names one."""
    return _ids(delivery.entry_id, None, wire.traceparent_in(delivery.fields))


def ids_of_outcome(outcome: Outcome) -> dict[str, str]:
    """Return the ids of what an outcome is of, its order's where that is known."""
    match outcome:
        case Settled(record=record):
            return ids_of(record)
        case Duplicate(delivery, order_id) | Dead(delivery, _, _, order_id):
            return _ids(delivery.entry_id, order_id, wire.traceparent_in(delivery.fields))
        case Retry(delivery):
            return ids_of_entry(delivery)
        case _:
            return ids_of_entry(outcome.delivery)


def _ids(entry_id: str, order_id: str | None, traceparent: str | None) -> dict[str, str]:
    found = {"entry_id": entry_id}
    if order_id is not None:
        found["order_id"] = order_id
    if traceparent is not None:
        found["trace_id"] = trace_id_of(traceparent)
    return found
