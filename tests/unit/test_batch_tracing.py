"""The spans of a loop on fakes: which there are, what they say of errors and outages, and what they cost."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from tests.builders import flat
from tests.fakes import Bench
from worker.consumer import kind
from worker.domain.orders import Execution, Order, Status
from worker.tracing import Sampling
from worker.tracing.batches import BatchTracing
from worker.tracing.spans import MOST_LINKS, Spans

pytestmark = pytest.mark.usefixtures("short_waits")

TRACE = "0af7651916cd43dd8448eb211c80319c"
ALL, BY_PARENT, NONE = Sampling(True, 1), Sampling(True, 0), Sampling(False, 0)
ORDERS = 500


def traceparent(number: int, flags: str = "01") -> str:
    return f"00-{TRACE}-{number + 1:016x}-{flags}"


class Traced:
    """A replica on fakes that is followed, and the spans that it has made."""

    def __init__(self, sampling: Sampling = ALL, **bench: Any) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        spans = Spans(
            provider.get_tracer("test"), stream="orders", group="execution", consumer="worker-1", kind=kind
        )
        tick = count(1).__next__
        self.tracing = BatchTracing(sampling, spans.write, now=tick)
        self.bench = Bench(tracing=self.tracing, **bench)

    def run(self) -> None:
        self.bench.run_until(lambda: self.bench.done)

    def spans(self, name: str) -> list[ReadableSpan]:
        return [each for each in self._exporter.get_finished_spans() if each.name.startswith(name)]

    def said(self, name: str, attribute: str) -> list[Any]:
        return [(each.attributes or {}).get(attribute) for each in self.spans(name)]


@pytest.fixture
def traced() -> Iterator[Traced]:
    made = Traced()
    yield made
    made.bench.lease.stop()


def exceptions(span: ReadableSpan) -> list[dict[str, Any]]:
    return [dict(each.attributes or {}) for each in span.events if each.name == "exception"]


def test_each_outcome_is_told_by_the_span_of_its_order(traced: Traced) -> None:
    bench = traced.bench
    bench.submit("a", "a")
    bench.submit("c", quantity="0")
    bench.submit("a", quantity="7")
    bench.stream.add(b"nothing", b"known")
    bench.submit("refused")
    bench.executor.instead["refused"] = lambda _: Execution(Status.ERROR, error_message="no")

    traced.run()

    assert Counter(traced.said("process", "orders.outcome")) == {
        "filled": 1, "duplicate": 1, "rejected": 1, "dead": 2, "error": 1,
    }  # fmt: skip
    assert sum(not each.status.is_ok for each in traced.spans("process")) == 3
    assert {"conflict", "undecodable", None, "ERROR"} == set(traced.said("process", "error.type"))


def test_executor_that_raises_is_an_error_of_each_delivery_and_of_the_letter(traced: Traced) -> None:
    traced.bench.submit("a")
    traced.bench.executor.instead["a"] = _raise

    traced.run()

    assert traced.said("process", "error.type") == ["retry"] * 4 + ["failed"]
    assert traced.said("process", "orders.deliveries")[-1] == 5


@pytest.mark.parametrize("station", ["process", "settle"])
def test_outage_is_told_once_on_the_spans_that_it_held_up(traced: Traced, station: str) -> None:
    bench = traced.bench
    bench.submit("a", traceparent=traceparent(0))
    faults, step = (bench.store.faults, "record") if station == "process" else (bench.orders.faults, "settle")
    faults.plant(step, times=7)

    traced.run()

    (receive,), (process,), (settle,) = map(traced.spans, ("receive", "process", "settle"))
    held_up = {"process": process, "settle": settle}[station]
    assert [each["exception.type"] for each in exceptions(held_up)] == ["Outage"]
    assert sum(len(exceptions(each)) for each in (receive, process, settle)) == 1
    assert not any(each.status.is_ok is False for each in (receive, process, settle))
    assert process.context.trace_id == int(TRACE, 16)


@pytest.mark.parametrize("sampling", [NONE, Sampling(True, 0)])
@pytest.mark.parametrize("step", ["read", "settle"])
def test_outage_is_not_told_where_nothing_is_to_be_followed(sampling: Sampling, step: str) -> None:
    traced = Traced(sampling)
    traced.bench.submit("a")
    traced.bench.orders.faults.plant(step)

    traced.run()

    assert traced.spans("") == []
    assert traced.bench.tally.outages == 1


def test_outage_of_a_read_is_an_error_of_its_receive(traced: Traced) -> None:
    traced.bench.submit("a")
    traced.bench.orders.faults.plant("read")

    traced.run()

    failed, passed = traced.spans("receive")
    assert not failed.status.is_ok
    assert [each["exception.type"] for each in exceptions(failed)] == ["Outage"]
    assert passed.status.is_ok
    assert len(traced.spans("process")) == 1


def test_outage_that_a_drain_ends_is_an_error_of_the_station_that_was_not_passed(traced: Traced) -> None:
    bench = traced.bench
    bench.submit("a")
    bench.orders.faults.plant("settle", times=10_000)
    bench.orders.faults.on_step = lambda step: (
        bench.drain.request() if bench.orders.faults.steps.count("settle") > 3 and step == "ping" else None
    )
    bench.worker.run()
    assert traced.spans("settle") == []

    traced.tracing.leave()

    (settle,), (process,) = traced.spans("settle"), traced.spans("process")
    assert not settle.status.is_ok
    assert (settle.attributes or {})["error.type"] == "Outage"
    assert process.status.is_ok


def test_error_that_nobody_expected_is_told_by_its_type_alone(traced: Traced) -> None:
    bench = traced.bench
    bench.submit("a")
    once = ["record"]

    def fail(step: str) -> None:
        if step in once:
            once.remove(step)
            raise KeyError("what an order says")

    bench.store.faults.on_step = fail

    traced.run()

    failed, *_ = traced.spans("process")
    assert not failed.status.is_ok
    assert exceptions(failed) == [{"exception.type": "KeyError"}]
    assert len(bench.stream.results) == 1
    assert traced.said("process", "orders.outcome")[-1] == "filled"


def test_links_stay_within_what_the_sdk_keeps() -> None:
    traced = Traced(batch_size=ORDERS)
    for number in range(ORDERS):
        traced.bench.submit(f"order-{number}", traceparent=traceparent(number))

    traced.run()

    (receive,), (settle,) = traced.spans("receive"), traced.spans("settle")
    for span in (receive, settle):
        assert len(span.links) == MOST_LINKS
        assert span.dropped_links == 0
    assert len(traced.spans("process")) == ORDERS


def test_answered_order_is_followed_in_the_trace_of_its_row(traced: Traced) -> None:
    bench = traced.bench
    (entry_id,) = bench.submit("a", traceparent=traceparent(0))
    bench.abandon([entry_id], [1])
    other = Bench(bench.stream, bench.store.table, consumer="worker-2")
    other.handle_next()
    other.clock.advance(other.lease.seconds + 1)

    traced.run()

    (process,) = traced.spans("process")
    assert process.context.trace_id == int(TRACE, 16)
    assert traced.said("process", "orders.outcome") == ["answered_again"]
    assert traced.spans("execute") == []


def test_tracing_that_fails_ends_by_itself_and_costs_no_order() -> None:
    def write(*_: object) -> None:
        written.append(1)
        raise RuntimeError("no spans today")

    written: list[int] = []
    bench = Bench(tracing=BatchTracing(ALL, write), batch_size=1)
    bench.submit("a", "b", "c")

    with capture_logs() as logs:
        bench.run_until(lambda: bench.done)

    assert len(bench.stream.results) == 3
    assert len(written) == 1
    assert [each["event"] for each in logs if each["log_level"] == "error"] == [
        "no spans can be made, nothing is followed any more"
    ]


def test_one_order_can_be_followed_by_its_ids_in_the_log(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.consumer.telling.is_wanted", lambda: True)
    (entry_id,) = traced.bench.submit("a", traceparent=traceparent(0))
    traced.bench.submit("b")

    with capture_logs() as logs:
        traced.run()

    way = [each for each in logs if each.get("entry_id") == entry_id]
    assert [each["event"] for each in way] == ["taken", "handled", "settled"]
    assert {each["trace_id"] for each in way} == {TRACE}
    assert [each.get("order_id") for each in way] == [None, "a", "a"]
    assert {each["log_level"] for each in way} == {"debug"}


def test_line_about_one_order_names_it_its_entry_and_its_trace(traced: Traced) -> None:
    (entry_id,) = traced.bench.submit("a", traceparent=traceparent(0))
    traced.bench.executor.instead["a"] = _raise

    with capture_logs() as logs:
        traced.run()

    ids = {"order_id": "a", "entry_id": entry_id, "trace_id": TRACE}
    for event in ("executor failed", "dead letter"):
        assert [each for each in logs if each["event"] == event]
        assert all(ids.items() <= each.items() for each in logs if each["event"] == event)
    assert not any(each["event"] in {"taken", "handled", "settled"} for each in logs)


class Counted:
    """A batch of 500 orders, and how often functions of Python were called while it was worked through."""

    def __init__(self, sampling: Sampling | None, flags: Callable[[int], str]) -> None:
        self.traced = Traced(sampling or NONE, batch_size=ORDERS)
        bench = self.traced.bench
        if sampling is None:
            bench.tracing = bench.worker.tracing = None
        for number in range(ORDERS):
            bench.stream.add(
                *flat(order_id=f"order-{number}", traceparent=traceparent(number, flags(number)))
            )
        self.calls = Counter[str]()
        sys.setprofile(self._note)
        try:
            self.traced.run()
        finally:
            sys.setprofile(None)

    def _note(self, frame: Any, event: str, _: object) -> None:
        if event == "call":
            name = frame.f_globals.get("__name__", "")
            for room in ("worker.tracing", "opentelemetry"):
                self.calls[room] += name.startswith(room)


def test_work_for_a_batch_is_none_without_traces_and_goes_with_the_share_that_is_followed() -> None:
    off = Counted(None, lambda _: "01")
    on = Counted(ALL, lambda _: "01")
    one_percent = Counted(ALL, lambda number: "01" if number % 100 == 0 else "00")

    spans = [len(each.traced.spans("")) for each in (off, on, one_percent)]
    assert spans == [0, 2 * ORDERS + 2, 2 * 5 + 2]
    assert off.calls["worker.tracing"] == off.calls["opentelemetry"] == 0
    # For each order: when its execution begins and ends, and whether it is followed.
    assert one_percent.calls["worker.tracing"] < 4 * ORDERS
    # No call for who is not followed.
    assert one_percent.calls["opentelemetry"] < on.calls["opentelemetry"] / 40
    attributes = [len(each.attributes or {}) for each in on.traced.spans("process")]
    assert set(attributes) == {10}


def _raise(_: Order) -> Execution:
    raise RuntimeError("always")
