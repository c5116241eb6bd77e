"""Makes spans as OpenTelemetry's messaging conventions have them, kinds of spans and links among them.

https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/

A batch has a span for its receive and one for its settle, each a trace of its own; an order has one for its
processing, in the trace of its producer, and within it one for its execution. Links join them.
"""

from collections.abc import Callable, Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)
from opentelemetry.trace import Span as OpenSpan
from opentelemetry.util.types import AttributeValue

from worker.domain.deliveries import Dead, Duplicate, Outcome, Retry, Settled
from worker.domain.orders import Status as OrderStatus
from worker.domain.trace_context import parent_id_of, trace_id_of
from worker.tracing.batches import Batch, Followed, Station, Trouble

# What the SDK keeps of a span; of more it would drop some without a word.
MOST_LINKS = 128
# The conventions know no name for Redis; any other is allowed.
SYSTEM = "redis"
_NOWHERE = Context()
_KINDS: Mapping[Station, SpanKind] = {
    "receive": SpanKind.CLIENT,
    "process": SpanKind.CONSUMER,
    "settle": SpanKind.CLIENT,
}

Attributes = Mapping[str, AttributeValue]


class Spans:
    """Makes the spans of a batch. `kind` names an outcome, as metrics and logs do."""

    def __init__(
        self, tracer: Tracer, *, stream: str, group: str, consumer: str, kind: Callable[[Outcome], str]
    ) -> None:
        self._tracer = tracer
        self._stream = stream
        self._kind = kind
        self._attributes: dict[Station, dict[str, AttributeValue]] = {
            station: {
                "messaging.system": SYSTEM,
                "messaging.operation.name": station,
                "messaging.operation.type": station,
                "messaging.destination.name": stream,
                "messaging.consumer.group.name": group,
                "messaging.client.id": consumer,
            }
            for station in _KINDS
        }

    def write(self, batch: Batch, followed: Sequence[Followed]) -> None:
        """Make the spans of a batch, and of those of its orders that are followed."""
        creators = [link for each in followed[:MOST_LINKS] for link in _to_the_creator(each)]
        received = self._of_batch("receive", batch, creators)
        if followed:
            processed = [Link(self._of_order(batch, each, received)) for each in followed]
        else:
            processed = self._of_batch("process", batch, received)
        self._of_batch("settle", batch, processed)

    def _of_batch(self, station: Station, batch: Batch, links: Sequence[Link]) -> list[Link]:
        """Make the span of a station, and return a link to it; nothing where the batch did not get there."""
        times = batch.stations.get(station)
        if times is None:
            return []
        count = {"messaging.batch.message_count": batch.deliveries} if batch.deliveries else {}
        made = self._begun(station, times.began, count, links, _NOWHERE)
        troubles = batch.troubles.get(station, [])
        _tell(made, troubles)
        if troubles and not batch.settled and station == next(reversed(batch.stations)):
            _fail(made, troubles[-1].type)
        made.end(times.ended)
        return [Link(made.get_span_context())]

    def _of_order(self, batch: Batch, each: Followed, received: Sequence[Link]) -> SpanContext:
        outcome, delivery, times = each.outcome, each.outcome.delivery, batch.stations["process"]
        said: dict[str, AttributeValue] = {
            "messaging.message.id": delivery.entry_id,
            "orders.outcome": self._kind(outcome),
            "orders.deliveries": delivery.count,
        }
        order_id = _order_id_of(outcome)
        if order_id is not None:
            said["orders.order_id"] = order_id
        parent = _NOWHERE if each.traceparent is None else _within(context_of(each.traceparent))
        made = self._begun("process", times.began, said, [*_to_the_creator(each), *received], parent)
        executed = batch.executed.get(delivery.entry_id)
        if executed is not None:
            within = self._tracer.start_span(
                "execute", _within(made.get_span_context()), start_time=executed.began
            )
            within.end(executed.ended)
        _tell(made, batch.troubles.get("process", []))
        failure = _failure_of(outcome)
        if failure:
            _fail(made, failure)
        made.end(times.ended)
        return made.get_span_context()

    def _begun(
        self, station: Station, began: int, said: Attributes, links: Sequence[Link], parent: Context
    ) -> OpenSpan:
        return self._tracer.start_span(
            f"{station} {self._stream}",
            parent,
            _KINDS[station],
            {**self._attributes[station], **said},
            links[:MOST_LINKS],
            began,
        )


def context_of(traceparent: str) -> SpanContext:
    """Return the span that a traceparent names, of another program."""
    trace_id, span_id, flags = trace_id_of(traceparent), parent_id_of(traceparent), traceparent[53:]
    return SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))


def _to_the_creator(each: Followed) -> list[Link]:
    """Return a link to the span that has added an order; none where nothing is known of it."""
    if each.traceparent is None:
        return []
    return [Link(context_of(each.traceparent), {"messaging.message.id": each.outcome.delivery.entry_id})]


def _within(parent: SpanContext) -> Context:
    return set_span_in_context(NonRecordingSpan(parent), _NOWHERE)


def _order_id_of(outcome: Outcome) -> str | None:
    match outcome:
        case Settled(record=record):
            return record.order_id
        case Duplicate(order_id=order_id) | Dead(order_id=order_id):
            return order_id
        case _:
            return None


def _failure_of(outcome: Outcome) -> str:
    """Return the error.type of an order that came to nothing; empty where it did. REJECTED is an answer."""
    match outcome:
        case Dead(reason=reason):
            return str(reason)
        case Retry():
            return "retry"
        case Settled(record=record) if record.status is OrderStatus.ERROR:
            return str(record.status)
        case _:
            return ""


def _tell(span: OpenSpan, troubles: Sequence[Trouble]) -> None:
    for each in troubles:
        said = {"exception.type": each.type}
        if each.message:
            said["exception.message"] = each.message
        span.add_event("exception", said, each.at)


def _fail(span: OpenSpan, why: str) -> None:
    span.set_attribute("error.type", why)
    span.set_status(Status(StatusCode.ERROR))
