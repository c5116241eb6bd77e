"""Shows itself: logs, health, metrics, a tiny HTTP thread."""

from worker.ops.health import Check, Checks, Vitals
from worker.ops.logs import configure_logs
from worker.ops.metrics import exposition
from worker.ops.server import HttpServer, host_and_port
from worker.ops.views import Identity, Views

__all__ = [
    "Check",
    "Checks",
    "HttpServer",
    "Identity",
    "Views",
    "Vitals",
    "configure_logs",
    "exposition",
    "host_and_port",
]
