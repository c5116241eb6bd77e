"""Shows itself: logs, health, metrics, a tiny HTTP thread."""

from worker.ops.health import Checks, Vitals
from worker.ops.judgement import Condition, judge
from worker.ops.logs import configure_logs, escaped
from worker.ops.metrics import exposition
from worker.ops.server import HttpServer, host_and_port
from worker.ops.summary import facts_of, lines_of, sentence_of
from worker.ops.views import Identity, Views

__all__ = [
    "Checks",
    "Condition",
    "HttpServer",
    "Identity",
    "Views",
    "Vitals",
    "configure_logs",
    "escaped",
    "exposition",
    "facts_of",
    "host_and_port",
    "judge",
    "lines_of",
    "sentence_of",
]
