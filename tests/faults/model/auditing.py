"""A person has the audit repair what it finds: at any moment, and in the end where nobody can know."""

from collections import Counter

from tests.fakes import FakeOrders, FakeStore
from tests.faults.model.fleet import SimulatedFleet
from tests.faults.model.state import State
from tests.repair_fakes import FakeEvidence, FakeMending, FakeRows
from worker.domain.evidence import Finding
from worker.repair import Audit, Remedies
from worker.store import scratch
from worker.wire import Renderer, Spelling


def repair(state: State, fleet: SimulatedFleet, *, republish: bool) -> list[Finding]:
    """Let `audit --repair` mend what it finds, and note what it gave out once more; return what it found."""
    clock, source = state.clock, fleet.names.source
    orders = FakeOrders(fleet.stream, "audit", lease_ms=int(state.plan.lease_s * 1000))
    streams, mending = FakeEvidence(orders), FakeMending(orders)
    rows = FakeRows(FakeStore(state.table, fleet.names), clock)
    renderer = Renderer(
        source=source, consumer="audit", version="model", copies=False, max_bytes=65536, max_fields=64,
        clock=clock.monotonic,
    )  # fmt: skip
    before, unknown = Counter(each["order_id"] for each in fleet.ever_published), set(fleet.stream.unknown)
    with scratch.scratch() as memory:
        audit = Audit(
            streams, rows, memory, Spelling(source), fleet.decoder,
            since_ms=0, results_maxlen=0, unsourced=False, progress=lambda _store, _done, _total: None,
        )  # fmt: skip
        remedies = Remedies(
            mending, streams, rows, renderer, fleet.decoder, republish=republish, clock=clock.monotonic
        )
        mending.begin()
        findings = list(audit.findings())
        remedies.apply(findings)
        mending.end()
    after = Counter(each["order_id"] for each in fleet.ever_published)
    if republish:
        fleet.given_again.update(
            {each: n - before[each] for each, n in after.items() if n > before[each] > 0}
        )
    decided = unknown.difference(fleet.stream.unknown)
    fleet.decided |= decided
    fleet.taken_for_published |= {each for each in decided if not republish}
    state.tell("operator", f"audits {source}: {[each.what for each in findings]}")
    return findings


def decide(state: State, fleet: SimulatedFleet, *, republish: bool) -> None:
    """Answer what nobody can know; then nothing is told, and another audit finds nothing to mend."""
    repair(state, fleet, republish=republish)
    if fleet.stream.unknown:
        state.violations.append(f"I4: still unknown after an audit that repairs: {fleet.stream.unknown}")
    left = [
        each for each in repair(state, fleet, republish=republish) if each.can_be_mended(republish=republish)
    ]
    if left:
        state.violations.append(f"I4: an audit that repairs leaves {left}")
