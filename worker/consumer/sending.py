"""Who may send an order: one at a time, whichever group or stream gave it to them."""

from worker.consumer.ports import Monotonic, Store


class Sending:
    """Knows for how long we alone may begin to send the order of a SUBMITTED row: a lease from its commit, or from taking it up.

    The lease of Redis does not tell: a second group, or one that was made anew, hands out what is in somebody's hands.
    """

    def __init__(self, store: Store, *, lease_s: float, execute_timeout_s: float, clock: Monotonic) -> None:
        self._store = store
        self._lease_s = lease_s
        # What the one before us has begun at the last moment has ended by then.
        self._taken_up_after_s = lease_s + execute_timeout_s
        self._clock = clock
        self._since: dict[str, float] = {}

    def now(self) -> float:
        """Return the time to begin with: it is to be asked before the row is written."""
        return self._clock()

    def begun(self, entry_id: str, *, since: float) -> None:
        """Note that the row of this entry was made SUBMITTED by us, not before `since`."""
        self._since[entry_id] = since

    def take_up(self, entry_id: str) -> None:
        """Become the one who may send, where nobody else can be sending. To be followed by asking the venue."""
        if self.ours(entry_id):
            return
        now = self._clock()
        if self._store.take_up(entry_id, after_s=self._taken_up_after_s):
            self._since[entry_id] = now

    def ours(self, entry_id: str) -> bool:
        """Whether a send that begins now has ended before anybody else may send."""
        since = self._since.get(entry_id)
        return since is not None and self._clock() - since <= self._lease_s

    def forget(self) -> None:
        """Forget what is in nobody's hands any more."""
        begun_after = self._clock() - self._lease_s
        self._since = {entry: since for entry, since in self._since.items() if since >= begun_after}
