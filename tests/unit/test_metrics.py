"""What is measured and how it is told to Prometheus: once per batch, by convention, with no end of labels."""

import re
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from tests import documentation
from tests.builders import delivery, record
from tests.fakes import Bench, FakeClock
from tests.unit.test_handling_failures import raising
from tests.unit.test_views import DATABASE, REDIS, TABLES, Shown
from worker.bootstrap.parts.vitals import ReplicaVitals
from worker.consumer import Measures
from worker.consumer.measures import OUTCOMES, REASONS
from worker.consumer.outages import SERVERS, Outages
from worker.domain.deliveries import Dead, Outcome, Settled
from worker.domain.errors import Outage
from worker.domain.measured import Figures, Histogram
from worker.ops.metrics import SECTIONS, Meant, Metric
from worker.stream import Unpublished

RULES = documentation.DOCS.parent / "deploy/prometheus/rules.yml"
METRICS = [each for those in SECTIONS.values() for each in those]
UNITS = ("_seconds", "_total", "_info", "_orders")


def told(shown: Shown) -> dict[str, dict[tuple[str, ...], float]]:
    """What is served, by the name of a sample and its labels' values."""
    shown.ask()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(shown.views.metrics().body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def measures(clock: FakeClock | None = None) -> Measures:
    made = clock or FakeClock()
    return Measures(made.monotonic, made.now)


def test_metrics_page_is_what_the_code_says() -> None:
    written = documentation.METRICS_PAGE.read_text(encoding="utf-8")

    assert written == documentation.metrics(), "run: python -m tests.documentation"


@pytest.mark.parametrize("metric", METRICS, ids=lambda each: each.name)
def test_metric_is_named_by_convention_and_has_its_question(metric: Metric) -> None:
    assert re.fullmatch(r"execution_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.kind != "histogram" or metric.name.endswith(UNITS)
    assert not re.search(r"_(ms|milliseconds|minutes|percent|kb)\b", metric.name)
    assert metric.question[-1] in "?."
    assert metric.meaning[-1] != "."


def test_every_metric_of_the_table_is_served_with_help_and_type() -> None:
    shown = Shown()
    shown.figures = replace(shown.figures, histograms=measures().histograms)
    shown.ask()
    lines = shown.views.metrics().body.decode().splitlines()

    helped = {line.split()[2] for line in lines if line.startswith("# HELP")}
    typed = {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE")}
    assert {each.name for each in METRICS} - helped == set()
    assert {each.name: each.kind for each in METRICS}.items() <= typed.items()


def test_help_says_of_a_figure_of_the_fleet_how_it_is_one() -> None:
    shown = Shown()
    shown.ask()

    assert (
        "# HELP execution_stream_lag Entries nobody has taken yet (of the fleet: the max of its replicas)"
        in (shown.views.metrics().body.decode().splitlines())
    )


def test_process_tells_its_memory_and_cpu() -> None:
    found = told(Shown())

    assert found["process_resident_memory_bytes"][()] > 1e6
    assert found["process_cpu_seconds_total"][()] > 0


def test_histogram_counts_what_is_at_most_each_bound() -> None:
    histogram = Histogram((1, 2, 5))
    before = histogram.now

    histogram.add([5, 0.5, 2, 7])
    histogram.add([1])

    assert (histogram.now.at_most, histogram.now.count, histogram.now.total) == ((2, 3, 4), 5, 15.5)
    assert (before.at_most, before.count) == ((0, 0, 0), 0), "what was read before must not change"


def test_histogram_is_served_with_its_sum_and_count() -> None:
    shown = Shown()
    histogram = Histogram((0.0005, 0.5))
    histogram.add([0.1, 2])
    shown.figures = replace(shown.figures, histograms={"commit": histogram.now})

    found = told(shown)

    assert found["execution_commit_seconds_bucket"] == {("0.0005",): 0, ("0.5",): 1, ("+Inf",): 2}
    assert found["execution_commit_seconds_sum"] == {(): 2.1}
    assert found["execution_commit_seconds_count"] == {(): 2}


def test_order_is_measured_at_each_station() -> None:
    bench = Bench()
    bench.submit("a", "b")
    bench.clock.advance(3)

    bench.run_until(lambda: bench.done)

    made = bench.measures.histograms
    assert {name: each.count for name, each in made.items()} == {
        "entry_to_result": 2, "commit": 1, "settle": 1, "execute": 2, "batch": 1,
    }  # fmt: skip
    assert made["entry_to_result"].total == pytest.approx(2 * 3, abs=0.1)
    assert bench.measures.deliveries["filled", ""] == 2
    bench.lease.stop()


class Updates:
    """Counts each time that something changes which a scrape shows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, made: Measures) -> None:
        self.count = 0
        add: Any = Histogram.add
        set_item: Any = type(made._deliveries).__setitem__  # noqa: SLF001  it is what is counted

        def adding(histogram: Histogram, values: Any) -> None:
            self.count += 1
            add(histogram, values)

        class Noted(type(made._deliveries)):  # type: ignore[misc]  # noqa: SLF001
            def __setitem__(noted: Any, key: Any, value: Any) -> None:
                self.count += 1
                set_item(noted, key, value)

        monkeypatch.setattr(Histogram, "add", adding)
        made._deliveries = Noted()  # noqa: SLF001


def updates_of(monkeypatch: pytest.MonkeyPatch, orders: int) -> int:
    with monkeypatch.context() as patched:
        bench = Bench(batch_size=1000)
        bench.submit(*(f"order-{n}" for n in range(orders)))
        noted = Updates(patched, bench.measures)
        bench.run_until(lambda: bench.done)
        bench.lease.stop()
    assert bench.tally.filled == orders
    return noted.count


def test_updates_of_a_batch_are_as_many_however_many_orders_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = updates_of(monkeypatch, 2), updates_of(monkeypatch, 500)

    # Five histograms, and the one outcome that they all have.
    assert (few, many) == (6, 6)


def test_outcomes_are_counted_and_letters_by_reason_and_no_text_of_others_is_a_label() -> None:
    made = measures()
    outcomes: list[Outcome] = [
        Settled(delivery(), record(), answered=False),
        Dead(delivery(), "poison", "why", None),
        Dead(delivery(), "poison", "why", None),
        Dead(delivery(), 'reason="of somebody else"', "why", None),
    ]

    made.settle(outcomes, {"filled": 1, "dead": 3}, 0.1)

    assert {labels: count for labels, count in made.deliveries.items() if count} == {
        ("filled", ""): 1, ("dead", "poison"): 2, ("dead", "other"): 1,
    }  # fmt: skip


def test_every_outcome_and_reason_is_told_before_the_first() -> None:
    assert measures().deliveries == dict.fromkeys(
        [*((each, "") for each in OUTCOMES), *(("dead", each) for each in REASONS), ("dead", "other")], 0
    )


def test_outage_is_counted_for_its_server_and_while_it_goes_on() -> None:
    clock = FakeClock()
    outages = Outages(clock.monotonic)
    outages.meet("redis")
    clock.advance(2)
    outages.meet("redis")
    clock.advance(3)
    during = outages.told()["redis"]
    outages.meet("postgresql")
    clock.advance(4)
    outages.end()
    clock.advance(100)

    after = outages.told()

    assert (during.count, during.seconds, during.now) == (1, 5, True)
    assert (after["redis"].seconds, after["postgresql"].seconds) == (5, 4)
    assert {server for server, each in after.items() if each.now} == set()
    assert after.keys() == set(SERVERS)


def test_server_of_another_name_is_no_label_of_its_own() -> None:
    outages = Outages(FakeClock().monotonic)

    outages.meet("what an executor called it")

    assert outages.told()["other"].now
    assert outages.told().keys() == set(SERVERS)


@pytest.mark.usefixtures("short_waits")
def test_loop_tells_which_server_it_waits_for() -> None:
    bench = Bench()
    bench.submit("a")
    bench.store.faults.plant("record", times=2)
    seen = []
    bench.store.faults.on_step = lambda step: (
        seen.append(bench.measures.outages.told()["postgresql"].now) if step == "ping" else None
    )

    bench.run_until(lambda: bench.done)

    assert seen == [True, True]
    assert bench.measures.outages.told()["postgresql"].count == 1
    assert not bench.measures.outages.told()["postgresql"].now
    bench.lease.stop()


UNSAFE: dict[str, tuple[dict[str, Any], dict[str, Any], Meant, Mapping[tuple[str, str], float]]] = {
    "all is well": ({}, {}, Meant(), {}),
    "evicting": ({"eviction": "allkeys-lru"}, {}, Meant(), {("evicts", "redis"): 1}),
    "evicting, and meant": ({"eviction": "allkeys-lru"}, {}, Meant(eviction=True), {}),
    "forgetting": (
        {"volatile": "appendonly no"}, {"volatile": "fsync off"}, Meant(),
        {("forgets", "redis"): 1, ("forgets", "postgresql"): 1},
    ),
    "forgetting, and meant": (
        {"volatile": "appendonly no"}, {"volatile": "fsync off"}, Meant(volatile=True), {}
    ),
    "a trigger": ({}, {"may_change_rows": ("trigger seen",)}, Meant(), {("changes_rows", "postgresql"): 1}),
}  # fmt: skip


@pytest.mark.parametrize(("redis", "tables", "meant", "unsafe"), UNSAFE.values(), ids=UNSAFE.keys())
def test_setting_by_which_orders_can_be_lost_is_told_unless_it_is_meant(
    redis: dict[str, Any], tables: dict[str, Any], meant: Meant, unsafe: Mapping[tuple[str, str], float]
) -> None:
    shown = Shown(meant)
    shown.redis = replace(REDIS, **redis)
    shown.database = replace(DATABASE, tables=replace(TABLES, **tables))

    found = told(shown)["execution_unsafe_setting"]

    assert {labels: value for labels, value in found.items() if value} == unsafe
    assert len(found) == 4


def test_setting_that_may_not_be_asked_for_is_missing() -> None:
    shown = Shown()
    shown.redis = replace(REDIS, eviction=None, volatile=None)
    shown.database = Outage("postgresql", "refused")

    found = told(shown)

    assert "execution_unsafe_setting" not in found
    assert "execution_schema_usable" not in found


def test_figures_of_the_fleet_are_recorded_once_each_by_the_rule_of_the_page() -> None:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]

    recorded = {
        each["record"]: each["expr"] for group in groups for each in group["rules"] if "record" in each
    }

    assert recorded == {
        documentation.recorded_as(each): documentation.rule(each) for each in documentation.of_the_fleet()
    }


def figures(bench: Bench) -> Figures:
    vitals = ReplicaVitals(bench.drain, Unpublished(), bench.measures, dict)
    made: Any = SimpleNamespace(decoder=None, stamps=None, measures=bench.measures)
    vitals.begin(bench.worker, made)
    return vitals.figures()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.lease.stop()


def test_claimed_entries_and_the_turn_of_retention_are_told(bench: Bench) -> None:
    bench.abandon(bench.submit("a", "b"), [0, 0])
    before = figures(bench)

    bench.run_until(lambda: bench.done)

    assert (before.claimed, before.retention_age_s) == (0, None)
    assert figures(bench).claimed == 2
    assert (figures(bench).retention_age_s or 0.0) < 10


def test_retry_that_waits_is_told_and_released_where_the_replica_leaves(bench: Bench) -> None:
    bench.executor.instead["a"] = raising("no")
    bench.submit("a")
    waiting = []

    def look_and_leave() -> None:
        waiting.append(figures(bench).retries_waiting)
        bench.drain.request()

    bench.orders.when_idle = look_and_leave

    bench.worker.run()

    assert set(waiting) == {1}
    assert (bench.tally.released, bench.tally.leases_lost, bench.tally.handed_back) == (1, 0, 1)


def test_lost_lease_is_told_apart_from_a_release(bench: Bench) -> None:
    (entry_id,) = bench.submit("a")
    taken = bench.intake.take()
    assert bench.stream.group is not None
    bench.stream.group.pending[entry_id].consumer = "another"
    bench.clock.advance(bench.lease.seconds + 1)

    bench.worker.settler.settle(taken, bench.handling.handle(taken), alone=True)

    assert (bench.tally.released, bench.tally.leases_lost, bench.tally.handed_back) == (0, 1, 1)
    assert bench.books_balance


def test_result_that_a_repair_gave_back_is_told(bench: Bench) -> None:
    bench.submit("a")
    bench.run_until(lambda: bench.done)
    bench.stream.results.clear()
    bench.stream.settled.clear()
    again = Bench(bench.stream, bench.store.table)

    again.run_until(lambda: bench.stream.results)

    assert figures(again).repaired == {"publish": 1}
    again.lease.stop()
