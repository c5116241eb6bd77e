"""What Prometheus is told: a table of metrics, each with its question, and the text that is made of it."""

from worker.ops.metrics.exposition import CONTENT_TYPE, SECTIONS, exposition
from worker.ops.metrics.told import NOTHING_MEANT, Meant, Metric, Told

__all__ = ["CONTENT_TYPE", "NOTHING_MEANT", "SECTIONS", "Meant", "Metric", "Told", "exposition"]
