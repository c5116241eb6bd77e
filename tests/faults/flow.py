"""Orders keep coming while replicas, groups, marks, servers come and go; a reader remembers each result."""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from tests.faults.scale import CHAOS
from tests.faults.storm.ends import Reader
from tests.fleets import assert_audits_are_clean, group_is_through
from tests.harness import Deployment, assert_invariants, eventually, sample_orders
from tests.processes import WorkerProcess

# How many results are awaited in all, so that each stretch of a test is long enough to be in the middle of
# something.
ORDERS = 10_000 if CHAOS else 1_000
# On cores that others use as well a lease must outlast a wait for one of them; what is killed is claimed
# after it.
TIMES = {"lease_ms": 3000, "transaction_timeout_s": 2.5, "execute_timeout_s": 2.5, "batch_size": 50}
# The load: as many at once, so often, that stretches take seconds and a slow start of replicas does not make
# it a flood.
AT_ONCE = ORDERS // 100
EVERY_S = 0.04
MOST_WAITING = ORDERS // 2
WITHIN_S = 120.0


class Flow:
    """Submits orders under ids of their own, a few hundred ahead of their results.

    One that follows another goes on from it.
    """

    def __init__(
        self, deployment: Deployment, follows: "Flow | None" = None, *, every_s: float = EVERY_S
    ) -> None:
        self._deployment = deployment
        self._every_s = every_s
        self._samples = sample_orders()
        self._seen_before = Counter[str]() if follows is None else follows.seen
        self._ids_before: list[str] = [] if follows is None else follows.result_ids
        self._over = Event()
        self._reader = Reader(deployment, self._ids_before[-1] if self._ids_before else "0-0")
        self._thread = Thread(target=self._run, name="flow")
        self.submitted: int = 0 if follows is None else follows.submitted

    @property
    def seen(self) -> Counter[str]:
        """How often the result of each order was read."""
        return self._seen_before + self._reader.seen

    @property
    def result_ids(self) -> list[str]:
        """The entry id of each result that was read."""
        return self._ids_before + self._reader.ids

    @property
    def sent(self) -> set[str]:
        """The order ids of all that was submitted."""
        return {f"order-{number}" for number in range(self.submitted)}

    def start(self) -> None:
        """Let orders flow, and read."""
        self._reader.start()
        self._thread.start()

    def end(self) -> None:
        """Submit no more."""
        self._over.set()
        self._thread.join()

    def finish(self) -> None:
        """Submit no more, and read what is left."""
        self.end()
        self._reader.finish()

    def await_more(self, results: int) -> None:
        """Return when so many more results have been read."""
        enough = len(self.result_ids) + results
        eventually(lambda: len(self.result_ids) >= enough, within=WITHIN_S)

    def assert_each_was_seen_once(self) -> None:
        """Assert that the reader has read one result of each order, ever."""
        sent = self.sent
        repeated = [order_id for order_id, times in self.seen.items() if times > 1]
        assert not repeated, f"{len(repeated)} of {len(sent)} orders have several results: {repeated[:3]}"
        missing = sent - self.seen.keys()
        assert not missing, f"{len(missing)} of {len(sent)} orders have no result: {sorted(missing)[:3]}"
        assert not self.seen.keys() - sent, "results of orders that nobody sent"

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            if self.submitted - len(self.result_ids) > MOST_WAITING:
                continue
            numbers = range(self.submitted, self.submitted + AT_ONCE)
            self._deployment.submit(
                {**self._samples[n % len(self._samples)], "order_id": f"order-{n}"} for n in numbers
            )
            self.submitted += AT_ONCE


@contextmanager
def flowing(deployment: Deployment, follows: Flow | None = None) -> Iterator[Flow]:
    """Let orders flow beside the block, and read until its end."""
    flow = Flow(deployment, follows)
    flow.start()
    try:
        yield flow
    finally:
        flow.finish()


def kill(*replicas: WorkerProcess) -> None:
    """Kill replicas in the middle of whatever they do."""
    for replica in replicas:
        replica.signal(signal.SIGKILL)
        replica.wait()


def drain(*replicas: WorkerProcess) -> None:
    """Have replicas leave as they should."""
    assert [replica.drain() for replica in replicas] == [0] * len(replicas)


def come_to_rest(deployment: Deployment, flow: Flow, *replicas: WorkerProcess) -> None:
    """Have no more orders come, and the replicas leave when all is settled."""
    flow.end()
    eventually(lambda: group_is_through(deployment), within=WITHIN_S)
    drain(*replicas)


def assert_one_result_each(deployment: Deployment, flow: Flow) -> None:
    """Assert that each order was executed and published once, as seen by reader, stores and audit."""
    flow.assert_each_was_seen_once()
    assert len(deployment.rows()) == flow.submitted
    assert deployment.letters() == []
    assert_audits_are_clean([deployment])
    assert_invariants(deployment)
