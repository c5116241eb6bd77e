"""Runs one replica: from the wish that it be there to the wish that it leave."""

import gc
import os
from threading import Event

import structlog

from worker import __version__
from worker.bootstrap.parts.signals import call_when_asked_to_leave
from worker.bootstrap.replica import Replica, replica
from worker.consumer import Drain
from worker.domain.errors import Outage
from worker.ops import host_and_port
from worker.settings import Settings

log = structlog.get_logger(__name__)

# Less than whoever asks gives it, since the start of the interpreter comes before it.
LEAVE_BEGINNING_WITHIN_S = 1.0
LEFT_EARLY = "left before the first order"

# Objects that are left over; the default of 700 is reached several times in each batch.
GARBAGE_LOOKED_FOR_AFTER = 20_000


class _Beginning:
    """What a wish to leave means before the first read: with nothing to hand back, nothing is waited for."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
        self._over = Event()

    def wish(self) -> None:
        """Ask to leave; what does not come to its end by itself in time is ended here."""
        self._drain.request()
        if not self._over.wait(LEAVE_BEGINNING_WITHIN_S):
            log.info(LEFT_EARLY)
            os._exit(0)

    def end(self) -> None:
        """Leave it to the drain from now on."""
        self._over.set()


def run_replica(settings: Settings) -> None:
    """Run one replica until SIGTERM or SIGINT. Raises what `replica` raises, and Stopped."""
    drain = Drain()
    beginning = _Beginning(drain)
    call_when_asked_to_leave(beginning.wish)
    try:
        with replica(settings, drain=drain, shown=True) as running:
            if not drain.requested:
                beginning.end()
                _run(settings, running)
                return
    except Outage:
        if not drain.requested:
            raise
    finally:
        beginning.end()
    log.info(LEFT_EARLY)


def _run(settings: Settings, running: Replica) -> None:
    log.info(
        "worker started",
        version=__version__,
        consumer=running.names.consumer,
        stream=running.names.orders,
        group=running.names.group,
        executor=settings.executor,
        batch_size=settings.batch_size,
        health=f"http://{host_and_port(settings.health_host, settings.health_port)}",
    )
    _collect_rarely()
    running.run()


def _collect_rarely() -> None:
    # What a batch leaves behind is freed by its reference counts, all that was imported stays for ever:
    # looking through both many times a batch took a fifth of the processor time and found nothing.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_LOOKED_FOR_AFTER)
