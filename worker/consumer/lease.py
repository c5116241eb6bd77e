"""Keeps what is in hand: renews it from a thread of its own while the loop is busy elsewhere."""

import math
from collections.abc import Iterable
from itertools import count
from threading import Event, Lock, Thread

import structlog
from msgspec.structs import replace

from worker.consumer.ports import Orders
from worker.domain.deliveries import Delivery
from worker.domain.errors import Outage, Stopped
from worker.domain.ports import Monotonic

log = structlog.get_logger(__name__)


class Lease:
    """Renews what is in hand at a quarter of the lease.

    The loop asks `check` whether the thread lives, `keep` what is still ours.
    """

    def __init__(self, stream: Orders, *, lease_ms: int, clock: Monotonic) -> None:
        self._stream = stream
        self.seconds = lease_ms / 1000
        self.clock = clock
        self._lock = Lock()
        # By entry id, which of its deliveries holds it; and those whose entries others hold, or have settled.
        self._held: dict[str, int] = {}
        self._lost: set[int] = set()
        self._holds = count(1)
        self._renewed_at = clock()
        self._unrenewed_since = math.inf
        self._ran_out = 0
        self._leaving = Event()
        self._thread = Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def stop(self) -> None:
        """Renew no more; a renewal under way is waited for, which ends at the timeouts of its connection."""
        self._leaving.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> None:
        """Raise Stopped where the thread has died: what is in hand could be taken away unnoticed."""
        if not self.renewing:
            raise Stopped("the lease renewal thread has ended")

    @property
    def renewing(self) -> bool:
        """Whether the thread lives that renews what is in hand."""
        return self._thread.is_alive()

    @property
    def losing(self) -> bool:
        """Whether anything in hand is known to be lost."""
        return bool(self._lost)

    @property
    def held(self) -> frozenset[str]:
        """The entry ids in hand."""
        with self._lock:
            return frozenset(self._held)

    @property
    def times_run_out(self) -> int:
        """How often others could have taken what is in hand, since it was not renewed for a lease."""
        return self._ran_out + self._is_out(for_s=0.0)

    def hold(self, deliveries: Iterable[Delivery], *, since: float | None = None) -> list[Delivery]:
        """Renew these from now on; return them as those that are held.

        `since`: when they may have been handed out, if that was not just now.
        """
        held = [replace(delivery, hold=next(self._holds)) for delivery in deliveries]
        with self._lock:
            self._held.update((delivery.entry_id, delivery.hold) for delivery in held)
            if since is not None:
                self._unrenewed_since = min(self._unrenewed_since, since)
        return held

    def let_go(self, deliveries: Iterable[Delivery]) -> None:
        """Renew these no more; what the entry was delivered for once more is held on."""
        with self._lock:
            for delivery in deliveries:
                if self._held.get(delivery.entry_id) == delivery.hold:
                    del self._held[delivery.entry_id]
                self._lost.discard(delivery.hold)

    def lost(self, deliveries: Iterable[Delivery], *, for_s: float = 0.0) -> set[str]:
        """Return which of these somebody else holds or has settled.

        Asks first if the last renewal is too old to keep them for another `for_s` seconds.
        """
        # A process that was stopped wakes up here before its renewal thread had a turn.
        if self._is_out(for_s=for_s):
            self.renew()
        with self._lock:
            return {delivery.entry_id for delivery in deliveries if delivery.hold in self._lost}

    def renew(self) -> None:
        """Restart the lease of everything in hand and note what is lost. Raises Outage."""
        with self._lock:
            self._ran_out += self._is_out(for_s=0.0)
            held, since = dict(self._held), self._unrenewed_since
            self._unrenewed_since = math.inf
        asked_at = self.clock()
        try:
            lost = self._stream.renew(held) if held else []
        except Outage:
            with self._lock:
                self._unrenewed_since = min(self._unrenewed_since, since)
            raise
        with self._lock:
            for entry_id in lost:
                # What the loop let go meanwhile is settled, not lost, and what came again since is not what
                # was asked about.
                if self._held.get(entry_id) == held[entry_id]:
                    self._lost.add(self._held.pop(entry_id))
        self._renewed_at = asked_at

    def _is_out(self, *, for_s: float) -> bool:
        return self.clock() - min(self._renewed_at, self._unrenewed_since) > self.seconds - for_s

    def _run(self) -> None:
        while not self._leaving.wait(self.seconds / 4):
            try:
                self.renew()
            except Outage as outage:
                log.warning("lease not renewed", server=outage.server, reason=outage.reason)
