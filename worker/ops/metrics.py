"""Prometheus metrics, made at each scrape from the one tally; there is no second book to keep."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.registry import Collector

from worker.ops.health import Finding, Vitals

_COUNTERS = {
    "received": "Entries taken in hand",
    "filled": "Orders filled",
    "rejected": "Orders rejected",
    "error": "Orders the executor answered with an error",
    "duplicate": "Entries that repeated an order",
    "dead": "Dead letters written",
    "answered_again": "Entries answered from a row that an earlier delivery wrote",
    "handed_back": "Entries released, or lost to another replica",
}
_OTHER_COUNTERS = {
    "unknown_fields": "Fields ignored because no order has them",
    "dropped_labels": "Labels dropped because they are no text",
    "unreadable_timestamps": "Timestamps that can't be read, where WORKER_MAX_ORDER_AGE_S is set",
    "unpublished_results": "Results that could not be published on WORKER_RESULTS_CHANNEL",
}
_REDIS_GAUGES = {
    "orders": "Entries in the orders stream",
    "lag": "Entries nobody has taken yet",
    "lost_unread": "Entries that were trimmed before the group read them",
    "pending": "Entries taken and not acked, over all consumers",
    "oldest_pending_age_s": "Age of the oldest pending entry in seconds",
    "set_aside": "Entries that can be neither settled nor buried",
    "lost_rows": "Orders whose results were published and whose rows PostgreSQL has lost",
    "results": "Entries in the results stream",
    "dead_letters": "Entries in the dead letter stream",
}

__all__ = ["CONTENT_TYPE", "exposition"]


def exposition(version: str, vitals: Vitals, findings: Mapping[str, Finding], *, uptime_s: float) -> bytes:
    """Return the metrics as text. No label ever holds what a producer sent."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(list(_metrics(version, vitals, findings, uptime_s))))
    return generate_latest(registry)


class _Once(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _metrics(
    version: str, vitals: Vitals, findings: Mapping[str, Finding], uptime_s: float
) -> Iterable[Metric]:
    counts = vitals.counts()
    for name, meaning in _COUNTERS.items():
        yield CounterMetricFamily(f"execution_orders_{name}", meaning, value=counts[name])
    for name, meaning in _OTHER_COUNTERS.items():
        yield CounterMetricFamily(f"execution_{name}", meaning, value=counts[name])
    yield CounterMetricFamily("execution_batches", "Batches settled", value=counts["batches"])
    yield CounterMetricFamily("execution_outages", "Outages met", value=counts["outages"])
    yield CounterMetricFamily(
        "execution_unexpected_errors", "Errors that nobody expected", value=counts["unexpected"]
    )
    yield GaugeMetricFamily("execution_orders_in_hand", "Entries being worked on", value=counts["in_hand"])
    yield GaugeMetricFamily("execution_uptime_seconds", "Seconds since start", value=uptime_s)
    yield GaugeMetricFamily(
        "execution_sign_of_life_age_seconds",
        "Seconds since the loop's last sign",
        value=vitals.sign_of_life_age_s,
    )
    yield InfoMetricFamily("execution_worker", "The running version", value={"version": version})
    connected = GaugeMetricFamily("execution_connected", "Whether a server answers", labels=["server"])
    for server, finding in findings.items():
        connected.add_metric([server], float(finding.connected))
    yield connected
    redis = findings["redis"].details
    for name, meaning in _REDIS_GAUGES.items():
        if redis.get(name) is not None:
            metric = name.removesuffix("_s") + "_seconds" if name.endswith("_age_s") else name
            yield GaugeMetricFamily(f"execution_stream_{metric}", meaning, value=redis[name])
