"""Who may send an order: one at a time, whichever group or stream gave it to them."""

from worker.consumer.lease import Lease
from worker.consumer.ports import Store


class Sending:
    """Knows for how long we alone may begin to send the order of a SUBMITTED row.

    That is a lease from its commit, or from taking it up. The lease of Redis does not tell: a second group,
    or one that was made anew, hands out what is in somebody's hands.
    """

    def __init__(self, store: Store, lease: Lease, *, execute_timeout_s: float) -> None:
        self._store = store
        self._lease = lease
        # What the one before us has begun at the last moment has ended by then.
        self._taken_up_after_s = lease.seconds + execute_timeout_s
        self._since: dict[str, float] = {}

    def begun(self, entry_id: str, *, since: float) -> None:
        """Note that we made the row of this entry SUBMITTED, not before `since` by the clock of the lease."""
        self._since[entry_id] = since

    def take_up(self, entry_id: str) -> None:
        """Become the one who may send, where nobody else can be sending. Asking the venue is to follow."""
        if self.ours(entry_id):
            return
        now = self._lease.clock()
        if self._store.take_up(entry_id, after_s=self._taken_up_after_s):
            self._since[entry_id] = now

    def ours(self, entry_id: str) -> bool:
        """Whether a send that begins now has ended before anybody else may send."""
        since = self._since.get(entry_id)
        return since is not None and self._lease.clock() - since <= self._lease.seconds

    def forget(self) -> None:
        """Forget what is in nobody's hands any more."""
        begun_after = self._lease.clock() - self._lease.seconds
        self._since = {entry: since for entry, since in self._since.items() if since >= begun_after}
