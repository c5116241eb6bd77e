"""Reads results, each in the trace of its order: python traced_reader.py CONSUMER SECONDS."""

import os
import sys

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from redis import RedisError

from worker.client import Results, connect


def main(consumer: str, seconds: str) -> None:
    """Handle result after result. One without a traceparent begins a trace."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("traced_reader")
    stream = os.environ.get("WORKER_RESULTS_STREAM", "order_results")
    with connect(os.environ.get("REDIS_URL", ""), stream=stream) as client:
        for result in Results(client, stream).read("traced", consumer, wait_s=float(seconds)):
            carrier = {"traceparent": result.traceparent or ""}
            context = TraceContextTextMapPropagator().extract(carrier)
            with tracer.start_as_current_span(f"process {stream}", context, SpanKind.CONSUMER) as span:
                span.set_attribute("messaging.message.id", result.entry_id)
                print(result.order_id, result.status, result.filled_quantity, flush=True)
    provider.shutdown()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (RedisError, ValueError) as error:
        sys.exit(f"mend REDIS_URL or an argument: {error}")
