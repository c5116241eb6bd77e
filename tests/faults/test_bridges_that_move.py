"""Bridges in a cluster whose slot moves: each node has an order of its own for what is published."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from redis.crc import key_slot

from local import LocalRedis
from tests.acceptance.test_bridge import bridges
from tests.faults.reporting import record
from tests.gathering import Cluster, asked, gathered
from tests.harness import Deployment, Servers, eventually
from tests.integration.test_bridge import added, legacy
from tests.processes import WorkerProcess

PUBLISHED_AT_ONCE, PAUSE_S = 20, 0.02
AGAIN = "hearing the channel again"
# Connections are renewed before they are that old.
AGING: dict[str, Any] = {"connection_max_age_s": 2.7, "transaction_timeout_s": 0.9, "execute_timeout_s": 0.9}

pytestmark = pytest.mark.timeout(300)


class Publishers:
    """One at each primary. What it has published are its numbers."""

    def __init__(self, cluster: Cluster, channel: str) -> None:
        self._channel = channel
        self._stop = Event()
        self.counts = dict.fromkeys((node.port for node in cluster.servers[:3]), 0)
        self._threads = [Thread(target=self._publish, args=(node,)) for node in cluster.servers[:3]]

    @property
    def published(self) -> set[bytes]:
        """Each message."""
        return {b"%d-%d" % (port, n) for port, count in self.counts.items() for n in range(count)}

    @property
    def last(self) -> set[bytes]:
        """The last one of each."""
        return {b"%d-%d" % (port, count - 1) for port, count in self.counts.items()}

    @contextmanager
    def running(self) -> Iterator[None]:
        for each in self._threads:
            each.start()
        try:
            yield
        finally:
            self.end()

    def end(self) -> None:
        """Publish no more."""
        self._stop.set()
        for each in self._threads:
            each.join()

    def await_more(self) -> None:
        """Return when each has published more."""
        before = dict(self.counts)
        eventually(lambda: all(self.counts[port] > before[port] + 500 for port in before))

    def _publish(self, node: LocalRedis) -> None:
        with asked(node) as client:
            while not self._stop.wait(PAUSE_S):
                for _ in range(PUBLISHED_AT_ONCE):
                    client.publish(self._channel, f"{node.port}-{self.counts[node.port]}")
                    self.counts[node.port] += 1


@contextmanager
def clustered(folder: Path) -> Iterator[tuple[Cluster, Deployment]]:
    with gathered(Cluster, folder) as cluster:
        assert isinstance(cluster, Cluster)
        yield cluster, at(cluster, cluster.servers[0])


def at(cluster: Cluster, node: LocalRedis) -> Deployment:
    nobody = "postgresql://nobody@127.0.0.1:1/none"
    return Deployment(Servers(node.url, nobody, way=cluster.way), "own", "none")


def move(cluster: Cluster, deployment: Deployment) -> Deployment:
    """Move the slot of the orders, and return the deployment where they are now."""
    slot = int(key_slot(deployment.orders.encode()))
    there = next(each for each in cluster.servers[:3] if each is not cluster.primary(slot))
    cluster.move(slot, there)
    return at(cluster, there)


def twice(deployment: Deployment) -> list[bytes]:
    """Return what was added more than once."""
    return [message for message, times in Counter(added(deployment)).items() if times > 1]


def assert_nothing_doubled_or_untold(
    now: Deployment, publishers: Publishers, *processes: WorkerProcess
) -> dict[str, int]:
    """Assert that each message is on the stream once or in a log, and return how many are in none or both."""
    told = {
        event["message"].encode()
        for process in processes
        for event in process.events
        if event["event"] == "message lost"
    }
    missing = publishers.published - set(added(now))
    assert (twice(now), missing - told) == ([], set())
    return {"published": len(publishers.published), "lost": len(missing), "told": len(told)}


def test_nothing_is_doubled_or_lost_untold_when_a_bridge_is_replaced_after_the_slot_has_moved(
    tmp_path: Path,
) -> None:
    with clustered(tmp_path / "redis") as (cluster, made), bridges(made, tmp_path, 2) as (staying, old):
        publishers = Publishers(cluster, legacy(made))
        with publishers.running():
            publishers.await_more()
            now = move(cluster, made)
            publishers.await_more()
            assert old.drain() == 0
            with bridges(made, tmp_path) as (new,):
                eventually(lambda: AGAIN in staying.said or twice(now))
                assert twice(now) == []
                publishers.await_more()
                publishers.end()
                eventually(lambda: publishers.last <= set(added(now)))
                assert (staying.drain(), new.drain()) == (0, 0)

        figures = assert_nothing_doubled_or_untold(now, publishers, staying, old, new)
    record("ways", "bridges after a slot moved", doubled=0, **figures)


def test_nothing_is_doubled_or_lost_untold_when_a_subscription_comes_of_age_after_the_slot_has_moved(
    tmp_path: Path,
) -> None:
    with clustered(tmp_path / "redis") as (cluster, made), bridges(made, tmp_path, **AGING) as (bridge,):
        publishers = Publishers(cluster, legacy(made))
        with publishers.running():
            publishers.await_more()
            now = move(cluster, made)
            eventually(lambda: AGAIN in bridge.said or twice(now))
            assert twice(now) == []
            publishers.await_more()
            publishers.end()
            eventually(lambda: publishers.last <= set(added(now)))
            assert bridge.drain() == 0

        figures = assert_nothing_doubled_or_untold(now, publishers, bridge)
    record("ways", "bridge of age after a slot moved", doubled=0, **figures)
