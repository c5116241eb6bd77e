"""A thousand orders a second, from a thread of its own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import redis

from tests.harness import Deployment, eventually, sample_orders

RATE_PER_S = 1_000
BURST = 50


class Load:
    """Adds orders to a deployment, which may change, for as long as its block runs."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.submitted = 0
        self._began = self._lasted_s = self._rested_s = 0.0
        self._over = Event()
        self._rests = Event()
        self._thread = Thread(target=self._run, name="load")

    @contextmanager
    def running(self) -> Iterator[None]:
        self._began = time.monotonic()
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()
            self._lasted_s = time.monotonic() - self._began - self._rested_s

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Add nothing while the block runs, and make up for nothing after it."""
        began = time.monotonic()
        self._rests.set()
        try:
            yield
        finally:
            self._rested_s += time.monotonic() - began
            self._rests.clear()

    @property
    def reached(self) -> float:
        """The part of its rate that it has reached while it lasted. What was refused is made up for."""
        return self.submitted / self._lasted_s / RATE_PER_S

    def await_more(self) -> None:
        """Return when another second of it has been taken."""
        enough = self.submitted + RATE_PER_S
        eventually(lambda: self.submitted >= enough, within=60)

    def _run(self) -> None:
        samples = sample_orders()
        while not self._over.is_set():
            lasted_s = time.monotonic() - self._began - self._rested_s
            if self._rests.is_set() or self.submitted + BURST > lasted_s * RATE_PER_S:
                self._over.wait(BURST / RATE_PER_S / 4)
                continue
            numbers = range(self.submitted, self.submitted + BURST)
            orders = [{**samples[n % len(samples)], "order_id": f"order-{n}"} for n in numbers]
            try:
                self.deployment.submit(orders)
            except redis.RedisError:
                # Refused as one transaction: nothing of it was added.
                self._over.wait(BURST / RATE_PER_S)
            else:
                self.submitted += BURST
