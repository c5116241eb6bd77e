"""The last resort against what can't be interrupted: a thread that ends the process."""

from collections.abc import Callable
from threading import Event, Thread

from worker.consumer.drain import Drain
from worker.domain.orders import Order, UnsoundOrder
from worker.domain.ports import Monotonic

LOOK_EVERY_S = 0.1


class Deadlines:
    """Watches one execution and the drain; whichever outlasts its time, `leave` is called with a last word.

    Leaving is safe at any point: what is in hand stays pending, and another replica claims it.
    """

    def __init__(
        self,
        drain: Drain,
        *,
        execute_s: float,
        drain_s: float,
        clock: Monotonic,
        leave: Callable[[str], None],
    ) -> None:
        self._drain = drain
        self._execute_s = execute_s
        self._drain_s = drain_s
        self._clock = clock
        self._leave = leave
        self._executing: tuple[Order | UnsoundOrder, float] | None = None
        self._draining_since: float | None = None
        self._over = Event()
        self._thread = Thread(target=self._run, name="deadlines", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._over.set()

    @property
    def left_s(self) -> float:
        """Seconds that are left of the drain, all of them before there is one."""
        since = self._draining_since
        return self._drain_s - (0.0 if since is None else self._clock() - since)

    def executing(self, order: Order | UnsoundOrder | None) -> None:
        """Note which order is being executed from now on, if any."""
        self._executing = None if order is None else (order, self._clock())

    def look(self) -> None:
        """Call `leave` where a deadline has passed."""
        now = self._clock()
        executing = self._executing
        if executing is not None and now - executing[1] > self._execute_s:
            self._leave(
                f"order {executing[0].order_id} has been executing for more than {self._execute_s:g} s"
            )
        if self._drain.requested:
            if self._draining_since is None:
                self._draining_since = now
            if now - self._draining_since > self._drain_s:
                self._leave(f"draining has taken more than {self._drain_s:g} s")

    def _run(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self.look()
