"""Shows itself: logs, health, metrics, a tiny HTTP thread."""

from worker.ops.front import front
from worker.ops.health import Check, Checks, Vitals
from worker.ops.history import History
from worker.ops.logs import configure_logs
from worker.ops.metrics import Meant, exposition
from worker.ops.server import HttpServer, host_and_port
from worker.ops.views import Identity, Views
from worker.ops.watching import Watch

__all__ = [
    "Check",
    "Checks",
    "History",
    "HttpServer",
    "Identity",
    "Meant",
    "Views",
    "Vitals",
    "Watch",
    "configure_logs",
    "exposition",
    "front",
    "host_and_port",
]
