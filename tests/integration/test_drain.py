"""Leaving: what is begun is finished, what is not is anybody's, and a second wish is obeyed sooner."""

from pathlib import Path
from typing import Any

import pytest

from tests.harness import Deployment, assert_invariants, eventually, numbered_orders
from tests.inprocess import committing, running
from tests.processes import workers


def test_drain_hands_back_what_was_not_begun_for_anybody_to_take_at_once(deployment: Deployment) -> None:
    class DrainingStream:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def read(self, count: int, block_ms: int) -> Any:
            found = self._inner.read(count, block_ms)
            if found:
                leaving[0].drain.request()
            return found

    leaving: list[Any] = []
    with running(deployment, wrap_stream=DrainingStream, lease_ms=60_000) as made:
        leaving.append(made)
        deployment.submit(numbered_orders(20))
        eventually(lambda: made.worker.tally.handed_back == 20)

    pending = deployment.redis.xpending_range(deployment.orders, deployment.group, "-", "+", 100)
    assert {entry["times_delivered"] for entry in pending} == {0}
    with running(deployment, lease_ms=60_000):
        eventually(deployment.all_settled)
    assert_invariants(deployment, made.worker.tally)


def test_drain_does_not_wait_for_the_pause_before_a_server_that_never_waits_is_asked_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NeverWaiting:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def read(self, count: int, _block_ms: int) -> Any:
            reads.append(count)
            return self._inner.read(count, 0)

    reads: list[int] = []
    monkeypatch.setattr("worker.consumer.reads.LONGEST_PAUSE_S", 3600.0)
    long: dict[str, Any] = {"block_ms": 25_000, "drain_timeout_s": 240, "lease_ms": 600_000}

    # The block ends within 20 s, or fails; the pause is of 25.
    with running(deployment, wrap_stream=NeverWaiting, **long):
        eventually(lambda: reads)

    assert len(reads) == 1


def test_second_wish_to_leave_ends_after_the_commit_and_another_replica_settles(
    deployment: Deployment,
) -> None:
    deployment.submit(numbered_orders(10))

    with committing(deployment) as (made, pause):
        made.drain.request()
        made.drain.request()
        pause.go_on.set()

    assert (len(deployment.rows()), len(deployment.published())) == (10, 0)
    with running(deployment) as other:
        eventually(deployment.all_settled)
    assert other.worker.tally.answered_again == 10
    assert_invariants(deployment)


def test_first_wish_to_leave_settles_what_is_committed(deployment: Deployment) -> None:
    deployment.submit(numbered_orders(10))

    with committing(deployment) as (made, pause):
        made.drain.request()
        pause.go_on.set()

    assert len(deployment.published()) == 10
    assert_invariants(deployment, made.worker.tally)


def test_read_that_may_wait_for_long_does_not_outlast_the_drain(
    deployment: Deployment, tmp_path: Path
) -> None:
    with workers(deployment, tmp_path, 1, block_ms=30_000, lease_ms=60_000, drain_timeout_s=2) as (process,):
        eventually(lambda: deployment.redis.info("clients")["blocked_clients"])
        code = process.drain()

    assert code == 0, process.said
