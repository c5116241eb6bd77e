"""Prometheus metrics, made at each scrape from the one tally; there is no second book to keep."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.registry import Collector

from worker.domain.database_state import DatabaseState
from worker.domain.stream_state import StreamState
from worker.ops.health import LastAnswer, Vitals

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
# None is what Redis can't tell: then the metric is missing.
_STREAM_GAUGES: tuple[tuple[str, str, Callable[[StreamState], float | None]], ...] = (
    ("orders", "Entries in the orders stream", lambda state: state.orders),
    ("lag", "Entries nobody has taken yet", lambda state: state.lag),
    ("lost_unread", "Entries that were trimmed before the group read them", lambda state: state.lost_unread),
    ("pending", "Entries taken and not acked, over all consumers", lambda state: state.pending),
    (
        "oldest_pending_age_seconds", "Age of the oldest pending entry in seconds",
        lambda state: state.oldest_pending_age_s,
    ),
    ("set_aside", "Entries that can be neither settled nor buried", lambda state: state.set_aside),
    (
        "lost_rows", "Orders whose results were published and whose rows PostgreSQL has lost",
        lambda state: state.lost_rows,
    ),
    ("results", "Entries in the results stream", lambda state: state.results),
    ("dead_letters", "Entries in the dead letter stream", lambda state: state.dead_letters),
)  # fmt: skip

__all__ = ["CONTENT_TYPE", "exposition"]


def exposition(
    version: str,
    vitals: Vitals,
    redis: LastAnswer[StreamState],
    database: LastAnswer[DatabaseState],
    *,
    uptime_s: float,
) -> bytes:
    """Return the metrics as text. No label ever holds what a producer sent."""
    registry = CollectorRegistry(auto_describe=False)
    connected = GaugeMetricFamily("execution_connected", "Whether a server answers", labels=["server"])
    connected.add_metric(["redis"], float(redis.connected))
    connected.add_metric(["database"], float(database.connected))
    metrics = [*_of_worker(version, vitals, uptime_s), connected]
    if redis.told is not None:
        metrics += _of_streams(redis.told)
    registry.register(_Once(metrics))
    return generate_latest(registry)


class _Once(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _of_worker(version: str, vitals: Vitals, uptime_s: float) -> Iterable[Metric]:
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


def _of_streams(state: StreamState) -> Iterable[Metric]:
    for name, meaning, of in _STREAM_GAUGES:
        value = of(state)
        if value is not None:
            yield GaugeMetricFamily(f"execution_stream_{name}", meaning, value=value)
