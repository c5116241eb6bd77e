"""Sends spans by OTLP over HTTP, from a thread of its own: whoever makes them waits for nobody.

A receiver that is away, slow, or refuses costs what it did not take: 2,048 spans wait for it at the most
(OTEL_BSP_MAX_QUEUE_SIZE), the oldest go first.
"""

import logging
import time
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

import requests
import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Tracer

log = structlog.get_logger(__name__)

# A receiver that comes and goes is told of so often at the most.
TELL_EVERY_S = 60.0
_SERVICE = "orders-worker"


class _NotingSession(requests.Session):
    """Notes how the last request ended, in words without an address: that may hold a secret."""

    said = ""

    def request(self, *args: Any, **how: Any) -> requests.Response:  # noqa: ANN401  as it is given
        try:
            response = super().request(*args, **how)
        except Exception as error:
            self.said = type(error).__name__
            raise
        self.said = f"HTTP {response.status_code}"
        return response


class ToldExporter(SpanExporter):
    """Tells when a receiver stops taking spans, and when it takes them again; seldom, whatever it does."""

    def __init__(
        self, exporter: SpanExporter, receiver: str, why: Callable[[], str], clock: Callable[[], float]
    ) -> None:
        self._exporter = exporter
        self._receiver = receiver
        self._why = why
        self._clock = clock
        self._lost = 0
        self._told_at: float | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; those that the receiver does not take are lost."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._told_at is not None and self._lost and self._due:
                log.info("spans are taken again", receiver=self._receiver, lost=self._lost)
                self._lost, self._told_at = 0, self._clock()
        else:
            self._lost += len(spans)
            if self._due:
                log.warning(
                    "spans are lost, orders are not: their receiver does not take them",
                    receiver=self._receiver,
                    lost=self._lost,
                    reason=self._why(),
                )
                self._told_at = self._clock()
        return result

    def shutdown(self) -> None:
        """Send nothing more."""
        self._exporter.shutdown()

    @property
    def _due(self) -> bool:
        return self._told_at is None or self._clock() - self._told_at >= TELL_EVERY_S


class Sending:
    """A tracer whose spans are sent. Raises what the SDK does where its variables can't be used."""

    def __init__(self, receiver: str, *, version: str, instance: str) -> None:
        _silence()
        session = _NotingSession()
        exporter = ToldExporter(
            OTLPSpanExporter(session=session), receiver, lambda: session.said, time.monotonic
        )
        # Which orders are followed is decided before a span is begun.
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=_resource(version=version, instance=instance),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._closing: Thread | None = None

    @property
    def tracer(self) -> Tracer:
        """What makes spans that are sent."""
        return self._provider.get_tracer("worker")

    def close(self, within_s: float) -> bool:
        """Send what waits, and nothing after it; return whether that was done in time. It may be repeated."""
        if self._closing is None:
            # What hangs ends with the process.
            self._closing = Thread(target=self._provider.shutdown, name="last spans", daemon=True)
            self._closing.start()
        self._closing.join(max(0.0, within_s))
        return not self._closing.is_alive()


def _resource(*, version: str, instance: str) -> Resource:
    """Return who sends; what the variables of OpenTelemetry say of it goes before what is said here."""
    ours = {"service.name": _SERVICE, "service.version": version, "service.instance.id": instance}
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


def _silence() -> None:
    # The SDK logs each try that fails, with addresses and headers; what there is to tell is told above.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
