"""Prometheus metrics, made at each scrape from what is counted anyway; there is no second book to keep."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.registry import Collector

from worker.domain.measured import Counted
from worker.ops.metrics import of_fleet, of_replica
from worker.ops.metrics.told import Metric, Told

__all__ = ["CONTENT_TYPE", "SECTIONS", "exposition"]

# All there are, under what they tell of.
SECTIONS: Mapping[str, tuple[Metric, ...]] = {
    "Orders": of_replica.ORDERS,
    "How long it takes": of_replica.TIMES,
    "Trouble": of_replica.TROUBLE,
    "The process": of_replica.PROCESS,
    "The streams": of_fleet.STREAMS,
    "The servers": of_fleet.SERVERS,
}
# Memory, CPU and open files, by the names that all programs give them; nothing where there is no /proc.
_PROCESS = ProcessCollector(registry=None)


def exposition(told: Told) -> bytes:
    """Return the metrics as text. No label ever holds what a producer sent."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(told))
    registry.register(_PROCESS)
    return generate_latest(registry)


class _Once(Collector):
    def __init__(self, told: Told) -> None:
        self._told = told

    def collect(self) -> Iterable[Family]:
        for metrics in SECTIONS.values():
            for metric in metrics:
                value = metric.of(self._told)
                if value is not None:
                    yield _family(metric, value)


def _family(metric: Metric, value: float | Counted | Mapping[tuple[str, ...], float]) -> Family:
    if isinstance(value, Counted):
        buckets = [
            (f"{bound:g}", float(count)) for bound, count in zip(value.bounds, value.at_most, strict=True)
        ]
        buckets.append(("+Inf", float(value.count)))
        return HistogramMetricFamily(metric.name, _help(metric), buckets=buckets, sum_value=value.total)
    made = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = made(metric.name, _help(metric), labels=metric.labels)
    values: Mapping[tuple[str, ...], float] = value if isinstance(value, Mapping) else {(): value}
    for labels, number in values.items():
        family.add_metric(labels, number)
    return family


def _help(metric: Metric) -> str:
    return (
        f"{metric.meaning} (of the fleet: the {metric.fleet} of its replicas)"
        if metric.fleet
        else metric.meaning
    )
