"""Adds an order within a span, which OTEL_EXPORTER_OTLP_ENDPOINT gets: python traced_producer.py ORDER_ID."""

import os
import sys

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
from redis import RedisError

from worker.client import Order, Producer, Unanswered, connect


def main(order_id: str) -> None:
    """Add the order. Its entry carries the traceparent of the span that is active then."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    orders = os.environ.get("WORKER_ORDERS_STREAM", "orders")
    with connect(os.environ.get("REDIS_URL", ""), stream=orders) as client:
        producer = Producer(client, orders)
        tracer = provider.get_tracer("traced_producer")
        with tracer.start_as_current_span(f"send {orders}", kind=SpanKind.PRODUCER) as span:
            added = producer.add(Order("BTC/USD", "BUY", "0.5", 61000, order_id=order_id))
            span.set_attribute("messaging.message.id", added.entry_id)
    provider.shutdown()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Unanswered as error:
        print(error)
        sys.exit(3)
    except (RedisError, ValueError) as error:
        sys.exit(f"mend REDIS_URL or an argument: {error}")
