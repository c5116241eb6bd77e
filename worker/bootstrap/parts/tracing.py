"""Has orders followed where the variables of OpenTelemetry name a receiver, and costs nothing else."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import structlog
from msgspec import Struct

from worker import __version__
from worker.consumer import kind
from worker.consumer.ports import Tracing
from worker.stream import RedisNames
from worker.tracing import Receiver, Unusable, receiver_in

log = structlog.get_logger(__name__)

NOT_INSTALLED = "no traces: the extra is not installed that sends them: pip install 'orders-worker[otel]'"
# How long a replica that leaves lets what waits be sent, of what is left of its drain.
LAST_SPANS_S = 2.0
# Whoever ends a drain that takes too long looks ten times a second.
_MARGIN_S = 0.5


class Traces(Struct, frozen=True):
    """What follows the loop, if anything does, and how what it has found is sent at the end."""

    tracing: Tracing | None = None
    send: Callable[[float], bool] | None = None

    def close(self, left_s: float) -> None:
        """Send what waits, in less than is left of the drain."""
        if self.tracing is not None and self.send is not None:
            self.tracing.leave()
            if not self.send(min(LAST_SPANS_S, left_s - _MARGIN_S)):
                log.info("left before all spans were sent")


@contextmanager
def traces_of(names: RedisNames, environment: Mapping[str, str] = os.environ) -> Iterator[Traces]:
    """Yield what follows the loop. What is wrong with that is a warning: orders do not wait for it."""
    traces = _made(names, environment)
    try:
        yield traces
    finally:
        if traces.send is not None:
            traces.send(0.0)


def _made(names: RedisNames, environment: Mapping[str, str]) -> Traces:
    try:
        receiver = receiver_in(environment)
        return Traces() if receiver is None else _sent_to(receiver, names)
    except Unusable as faults:
        log.warning("no traces: a variable can't be used", variables=str(faults).split("\n"))
    except ImportError as missing:
        log.warning(NOT_INSTALLED, missing=missing.name)
    except Exception as error:  # noqa: BLE001  the SDK's: its text may quote what is secret
        log.warning("no traces: OpenTelemetry can't use its variables", error=type(error).__name__)
    return Traces()


def _sent_to(receiver: Receiver, names: RedisNames) -> Traces:
    # Loaded where they are wanted: they take 0.4 s of a start, and 10 MB of memory.
    from worker.tracing.batches import BatchTracing  # noqa: PLC0415
    from worker.tracing.sending import Sending  # noqa: PLC0415
    from worker.tracing.spans import Spans  # noqa: PLC0415

    sending = Sending(receiver.name, version=__version__, instance=names.consumer)
    spans = Spans(sending.tracer, stream=names.orders, group=names.group, consumer=names.consumer, kind=kind)
    log.info("orders are followed", receiver=receiver.name, share=receiver.sampling.ratio)
    return Traces(BatchTracing(receiver.sampling, spans.write), sending.close)
