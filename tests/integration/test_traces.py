"""Traces of real replicas, sent to a receiver that decodes them; whatever it does, it costs no order."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.directory import free_port
from tests.commands import command
from tests.fleets import small_order
from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.inprocess import running
from tests.integration.test_prune import sql
from tests.otlp import Receiver, receiving
from tests.processes import WorkerProcess, workers
from worker.store import StoreInspector

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
UNSAMPLED = f"00-{TRACE[::-1]}-{SPAN[::-1]}-00"
SECRET = "hush-hush-hush"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that every process is told of, by the variables of OpenTelemetry."""
    with receiving() as made:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer {SECRET}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield made


def settled(deployment: Deployment, count: int) -> None:
    deployment.submit(numbered_orders(count))
    eventually(deployment.all_settled)


def test_order_is_followed_from_its_producer_through_a_batch_to_its_result(
    deployment: Deployment, tmp_path: Path, receiver: Receiver
) -> None:
    order, other = numbered_orders(2)
    deployment.submit([{**order, "traceparent": TRACEPARENT}, {**other, "traceparent": UNSAMPLED}])

    with workers(deployment, tmp_path, 1) as (process,):
        eventually(deployment.all_settled)
        eventually(lambda: len(receiver.spans) == 4)
        assert process.drain() == 0

    received, processed, executed, done = (
        receiver.named(name)[0]
        for name in (
            f"receive {deployment.orders}", f"process {deployment.orders}", "execute",
            f"settle {deployment.orders}",
        )
    )  # fmt: skip
    assert len(receiver.spans) == 4
    assert {each.service for each in receiver.spans} == {"orders-worker"}
    row = deployment.rows()[order["order_id"]]
    assert (processed.trace_id, processed.parent_id, processed.kind) == (TRACE, SPAN, "CONSUMER")
    assert (executed.trace_id, executed.parent_id, executed.kind) == (TRACE, processed.span_id, "INTERNAL")
    assert processed.links == [(TRACE, SPAN), (received.trace_id, received.span_id)]
    assert (received.links, received.kind, received.parent_id) == ([(TRACE, SPAN)], "CLIENT", "")
    assert (done.links, done.kind, done.parent_id) == ([(TRACE, processed.span_id)], "CLIENT", "")
    assert received.began <= processed.began <= executed.began <= executed.ended <= processed.ended
    assert processed.ended <= done.began <= done.ended
    common = {
        "messaging.system": "redis",
        "messaging.destination.name": deployment.orders,
        "messaging.consumer.group.name": deployment.group,
    }
    for span, station in ((received, "receive"), (processed, "process"), (done, "settle")):
        assert common.items() <= span.attributes.items()
        assert span.attributes["messaging.operation.name"] == station
        assert span.attributes["messaging.operation.type"] == station
        assert not span.failed
    assert {each.attributes["messaging.batch.message_count"] for each in (received, done)} == {2}
    assert processed.attributes["messaging.message.id"] == row.entry_id
    assert processed.attributes["orders.order_id"] == order["order_id"]
    assert processed.attributes["orders.outcome"] in {"filled", "rejected"}
    published = {each["order_id"]: each["traceparent"] for each in deployment.published()}
    assert published == {order["order_id"]: TRACEPARENT, other["order_id"]: UNSAMPLED}
    assert_invariants(deployment, process.tally)


def test_duplicate_with_another_trace_changes_nothing_and_the_row_keeps_the_first(
    deployment: Deployment, tmp_path: Path
) -> None:
    (order,) = numbered_orders(1)
    for traceparent in (TRACEPARENT, UNSAMPLED, "nonsense"):
        deployment.submit([{**order, "traceparent": traceparent}])

    with workers(deployment, tmp_path, 1) as (process,):
        eventually(deployment.all_settled)
        assert process.drain() == 0

    assert process.tally.duplicate == 2
    (row,) = deployment.rows().values()
    (result,) = deployment.published()
    assert (row.traceparent, result["traceparent"]) == (TRACEPARENT, TRACEPARENT)
    assert_invariants(deployment, process.tally)


def test_result_that_is_published_again_says_the_same_trace(deployment: Deployment, tmp_path: Path) -> None:
    (order,) = numbered_orders(1)
    deployment.submit([{**order, "traceparent": TRACEPARENT}])
    with workers(deployment, tmp_path, 1):
        eventually(deployment.all_settled)
    (first,) = deployment.published()

    deployment.redis.delete(deployment.results, *deployment.mark_keys)
    with workers(deployment, tmp_path, 1):
        eventually(deployment.published)

    (again,) = deployment.published()
    assert again == first
    assert again["traceparent"] == TRACEPARENT


def test_trace_of_an_order_is_shown_wherever_its_row_is(deployment: Deployment, tmp_path: Path) -> None:
    order = small_order("a")
    deployment.submit([{**order, "traceparent": TRACEPARENT}])
    with running(deployment, paper_success_rate=1):
        eventually(deployment.all_settled)
        sql(deployment, "UPDATE orders SET recorded_at = recorded_at - interval '1 minute'")

        told = command(deployment, "show", "a").stdout
        proof = json.loads(command(deployment, "show", "--json", "a").stdout)
        hidden = command(deployment, "show", "a", hidden_fields="traceparent").stdout
        folder = tmp_path / "rows"
        assert command(deployment, "export", "--older-than", "1s", str(folder)).exit_code == 0

    assert f"trace {TRACE}" in told
    assert proof["row"]["traceparent"] == TRACEPARENT
    assert TRACE not in hidden.partition("committed")[2]
    (line,) = (folder / "orders-00001.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["traceparent"] == TRACEPARENT
    recent = StoreInspector(deployment.entered(), deployment.fleet).recent(5)
    assert [each.traceparent for each in recent.orders] == [TRACEPARENT]


@pytest.mark.parametrize("fault", ["away", "refuses", "busy", "silent"])
def test_receiver_that_takes_nothing_costs_no_order_and_no_drain_anything(
    deployment: Deployment, tmp_path: Path, receiver: Receiver, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    match fault:
        case "away":
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
        case "refuses":
            receiver.status = 401
        case "busy":
            receiver.status = 503
        case _:
            receiver.open.clear()

    with workers(deployment, tmp_path, 1, drain_timeout_s=4, log_level="DEBUG", batch_size=50) as (process,):
        for _ in range(4):
            settled(deployment, 100)
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        took_s = time.monotonic() - began

    assert took_s < 4
    assert receiver.spans == []
    assert process.tally.outages == 0
    told = [each for each in process.events if "spans" in each["event"]]
    assert len(told) <= 3, told
    assert all(each["logger"].startswith("worker.") for each in process.events), process.said
    assert SECRET not in process.said
    assert_invariants(deployment, process.tally)


def test_receiver_that_refuses_and_then_takes_spans_is_told_of_once(
    deployment: Deployment, tmp_path: Path, receiver: Receiver
) -> None:
    receiver.status = 400

    with workers(deployment, tmp_path, 1) as (process,):
        settled(deployment, 50)
        eventually(lambda: any("spans are lost" in each["event"] for each in process.events))
        receiver.status = 200
        settled(deployment, 60)
        eventually(lambda: receiver.named(f"settle {deployment.orders}"))
        assert process.drain() == 0

    (lost,) = (each for each in process.events if "spans are lost" in each["event"])
    assert (lost["reason"], lost["receiver"]) == ("HTTP 400", f"127.0.0.1:{receiver.port}")
    assert lost["lost"] > 0
    assert receiver.headers[0]["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in process.said


def test_what_waits_to_be_sent_is_sent_at_the_end(
    deployment: Deployment, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    with workers(deployment, tmp_path, 1) as (process,):
        settled(deployment, 5)
        assert receiver.spans == []
        assert process.drain() == 0

    assert len(receiver.named(f"process {deployment.orders}")) == 5


def test_variable_that_can_not_be_used_is_a_warning_and_orders_go_on(
    deployment: Deployment, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", SECRET)

    with workers(deployment, tmp_path, 1) as (process,):
        settled(deployment, 5)
        assert process.drain() == 0

    (told,) = (each for each in process.events if each["event"].startswith("no traces"))
    assert [each.partition(":")[0] for each in told["variables"]] == [
        "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_HEADERS",
    ]  # fmt: skip
    assert SECRET not in process.said
    assert receiver.requests == 0


def test_where_the_extra_is_not_installed_that_is_a_warning_and_orders_go_on(
    deployment: Deployment, tmp_path: Path, receiver: Receiver
) -> None:
    missing = "import sys; sys.modules['opentelemetry.exporter'] = None; "
    run = "from worker.__main__ import main; sys.argv = ['worker', 'run']; main()"

    process = WorkerProcess(deployment, tmp_path / "worker.log", (sys.executable, "-c", missing + run))
    try:
        eventually(lambda: process.has_started)
        settled(deployment, 5)
        assert process.drain() == 0
    finally:
        process.end()

    (told,) = (each for each in process.events if each["event"].startswith("no traces"))
    assert "orders-worker[otel]" in told["event"]
    assert receiver.requests == 0


def test_share_of_orders_without_a_trace_is_followed(
    deployment: Deployment, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.1")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "execution-desk")

    with workers(deployment, tmp_path, 1) as (process,):
        settled(deployment, 400)
        assert process.drain() == 0

    followed = receiver.named(f"process {deployment.orders}")
    assert 10 < len(followed) < 100
    assert {each.service for each in followed} == {"execution-desk"}
    assert len({each.trace_id for each in followed}) == len(followed)
