"""Puts the bridge from a Pub/Sub channel together, and runs it."""

import structlog

from worker import __version__
from worker.bootstrap.parts.connections import redis_link
from worker.bootstrap.parts.signals import call_when_asked_to_leave
from worker.bootstrap.parts.spelling import hiding_of
from worker.bridge import Backlog, Bridge
from worker.domain.errors import ConfigurationError
from worker.settings import Settings
from worker.stream import Channel, demands, require_keeping

log = structlog.get_logger(__name__)


def add_what_is_published(settings: Settings, channel: str, *, most_bytes: int) -> None:
    """Run the bridge until SIGTERM or SIGINT. Raises ConfigurationError, Outage at the start, and Stopped."""
    if channel == settings.results_channel:
        raise ConfigurationError("--channel: is WORKER_RESULTS_CHANNEL, where results go, not orders")
    with redis_link(settings, "bridge") as link:
        source = Channel(link, channel, settings.orders_stream)
        with demands(link):
            require_keeping(link, allow_eviction=settings.allow_eviction, bridges=True)
            source.rehearse()
        running = Bridge(
            source, Backlog(most_bytes), drain_s=settings.drain_timeout_s, hiding=hiding_of(settings)
        )
        call_when_asked_to_leave(running.leave)
        log.info("bridge started", version=__version__, channel=channel, stream=settings.orders_stream)
        running.run()
