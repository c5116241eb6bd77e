"""Which orders are followed: as OpenTelemetry's samplers would have it, and the same in each delivery."""

import random

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    Decision,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import NonRecordingSpan, set_span_in_context

from worker.tracing import Sampling
from worker.tracing.spans import context_of

RATIO = 0.3
BOTH: dict[str, tuple[Sampling, Sampler]] = {
    "always_on": (Sampling(False, 1), ALWAYS_ON),
    "always_off": (Sampling(False, 0), ALWAYS_OFF),
    "traceidratio": (Sampling(False, RATIO), TraceIdRatioBased(RATIO)),
    "parentbased_always_on": (Sampling(True, 1), DEFAULT_ON),
    "parentbased_always_off": (Sampling(True, 0), DEFAULT_OFF),
    "parentbased_traceidratio": (Sampling(True, RATIO), ParentBased(TraceIdRatioBased(RATIO))),
}


def traceparents(count: int) -> list[str]:
    chance = random.Random(1)  # noqa: S311  a test's
    return [
        f"00-{chance.getrandbits(128):032x}-{chance.getrandbits(64):016x}-{chance.getrandbits(8):02x}"
        for _ in range(count)
    ]


@pytest.mark.parametrize("name", BOTH)
def test_order_with_a_trace_is_followed_where_the_sampler_of_the_sdk_takes_it(name: str) -> None:
    ours, theirs = BOTH[name]

    for traceparent in traceparents(2_000):
        parent = set_span_in_context(NonRecordingSpan(context_of(traceparent)), Context())
        trace_id = context_of(traceparent).trace_id
        decision = theirs.should_sample(parent, trace_id, "process").decision
        taken = decision is Decision.RECORD_AND_SAMPLE
        assert ours.takes(traceparent, "1-1") == taken, traceparent


@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.3, 1.0])
def test_of_orders_without_a_trace_the_share_is_followed_that_was_asked_for(ratio: float) -> None:
    entry_ids = [f"{1_700_000_000_000 + number // 7}-{number % 7}" for number in range(100_000)]

    for by_parent in (True, False):
        taken = sum(Sampling(by_parent, ratio).takes(None, each) for each in entry_ids)
        assert taken == pytest.approx(100_000 * ratio, rel=0.1, abs=0)


def test_order_is_followed_in_each_of_its_deliveries_or_in_none() -> None:
    first, second = Sampling(True, 0.5), Sampling(True, 0.5)

    taken = [first.takes(None, f"{number}-0") for number in range(1000)]

    assert taken == [second.takes(None, f"{number}-0") for number in range(1000)]
    assert 0 < sum(taken) < 1000
