"""The trace of one order on the page on traces: from a producer's script to a reader's, by a real export.

TRACES_PAGE=write has the page show the spans of this run; else a run has to be told in the same words.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.harness import Deployment, eventually
from tests.otlp import SentSpan, receiving
from tests.processes import ROOT, workers

PAGE = ROOT / "docs" / "traces.md"
SHOWN = re.compile(r"(<!-- trace: begin -->\n```text\n)(.*?)(```\n<!-- trace: end -->)", re.DOTALL)
TOLD = ("messaging.message.id", "orders.order_id", "orders.outcome", "messaging.batch.message_count")


def script(deployment: Deployment, name: str, user: str, *arguments: str) -> str:
    environment = deployment.process_environment() | {
        "REDIS_URL": deployment.client_url(user),
        "OTEL_SERVICE_NAME": name.removesuffix(".py"),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *arguments],
        env=environment, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def told(spans: list[SentSpan]) -> str:
    """Return spans as text, trace by trace, each beneath its parent."""
    (sent,) = (each for each in spans if each.kind == "PRODUCER")
    # A read may have begun to wait before there was anything to read.
    traces, began = dict.fromkeys([sent.trace_id, *(each.trace_id for each in spans)]), sent.began
    return "".join(line for trace_id in traces for line in _lines(spans, trace_id, began))


def _lines(spans: list[SentSpan], trace_id: str, began: int) -> Iterator[str]:
    yield f"trace {trace_id}\n"
    here = [each for each in spans if each.trace_id == trace_id]
    ids = {each.span_id for each in here}

    def beneath(parent_id: str | None, depth: int) -> Iterator[str]:
        for each in here:
            if each.parent_id != parent_id and (parent_id is not None or each.parent_id in ids):
                continue
            yield _line(each, depth, began)
            yield from (f"{'  ' * depth}    linked to span {span_id}\n" for _, span_id in each.links)
            yield from beneath(each.span_id, depth + 1)

    yield from beneath(None, 0)


def _line(span: SentSpan, depth: int, began: int) -> str:
    at, took = (span.began - began) / 1e6, (span.ended - span.began) / 1e6
    said = " ".join(str(span.attributes[name]) for name in TOLD if name in span.attributes)
    named = f"{'  ' * depth}  {span.name} ({span.kind})"
    text = f"{named:<38} {span.service:<15} {span.span_id} at {at:6.1f} ms for {took:5.1f} ms  {said}"
    return f"{text.rstrip()}\n"


def _usual(deployment: Deployment, span: SentSpan) -> SentSpan:
    """Return a span with the usual names of streams."""
    names = {deployment.orders: "orders", deployment.results: "order_results"}
    operation, _, stream = span.name.partition(" ")
    return replace(span, name=" ".join([operation, *filter(None, [names.get(stream, stream)])]))


def in_words(text: str) -> list[str]:
    """Return the lines of a trace without what differs from run to run: ids, times, and the spaces there."""
    without = re.sub(r"\b[0-9a-f]{16,32}\b|\b[0-9]+-[0-9]+\b|-?[0-9]+\.[0-9]", "#", text)
    return [re.sub(r" +", " ", line).strip() for line in without.splitlines()]


def test_page_shows_the_trace_of_one_order_from_its_producer_to_a_reader_of_its_result(
    own_deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        with workers(own_deployment, tmp_path, 1) as (process,):
            script(own_deployment, "traced_producer.py", "producer", "desk-1")
            eventually(own_deployment.all_settled)
            printed = script(own_deployment, "traced_reader.py", "reader", "one", "0.5")
            assert process.drain() == 0
        spans = [_usual(own_deployment, each) for each in receiver.spans]

    assert re.fullmatch(r"desk-1 (FILLED 0\.5|REJECTED 0)\n", printed)
    (sent,) = (each for each in spans if each.kind == "PRODUCER")
    way = [each.name for each in spans if each.trace_id == sent.trace_id]
    assert way == ["send orders", "process orders", "execute", "process order_results"]
    shown = told(spans)
    page = PAGE.read_text(encoding="utf-8")
    if os.environ.get("TRACES_PAGE") == "write":
        page = SHOWN.sub(lambda found: f"{found[1]}{shown}{found[3]}", page)
        PAGE.write_text(page, encoding="utf-8")
    (_, on_page, _) = SHOWN.findall(page)[0]
    assert in_words(on_page) == in_words(shown)
