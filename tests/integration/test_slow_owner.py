"""A replica that takes longer than its lease keeps what it has, as long as it renews."""

from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.inprocess import running


def test_nobody_claims_from_an_owner_that_is_slow_but_alive(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(100))

    with running(deployment, batch_size=100, paper_latency_ms=50, lease_ms=2000) as slow:
        eventually(lambda: deployment.pending() == 100)
        with running(deployment, lease_ms=2000) as other:
            eventually(deployment.all_settled)

    assert slow.worker.tally.filled + slow.worker.tally.rejected == 100
    assert other.worker.tally.received == 0
    assert_invariants(deployment, slow.worker.tally, other.worker.tally)
