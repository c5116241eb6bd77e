"""Whether orders get on: what is to be done, who is there to do it, and when an order was recorded last."""

import math

from msgspec import Struct

from worker.status.snapshot import DatabaseSnapshot, RedisSnapshot, Rules
from worker.status.wording import counted, span

# A replica that is idle takes what comes at once; Redis before 7.2 may not have heard of it for long.
AT_ONCE_S = 5


class Progress(Struct, frozen=True):
    """Judged by what Redis told, and by what PostgreSQL did where it can be used."""

    redis: RedisSnapshot
    database: DatabaseSnapshot | None
    rules: Rules

    @property
    def nobody_works(self) -> bool:
        """Whether there is something to do and no replica is alive."""
        waiting = self.redis.survey.waiting
        if self.redis.alive:
            return False
        age_s = waiting.oldest_waiting_age_s
        is_left = waiting.waiting and (age_s is None or age_s > AT_ONCE_S)
        return bool(self.redis.state.pending or is_left)

    @property
    def standstill_s(self) -> float | None:
        """For how long living replicas have recorded nothing while orders wait, None where they get on."""
        waiting_s = self.redis.survey.waiting.oldest_waiting_age_s or 0
        pending_s = self.redis.state.oldest_pending_age_s or 0
        too_long = min(max(waiting_s, pending_s), self._still_s) > self.rules.stuck_after_s
        return self._still_s if self.redis.alive and too_long and self._could_record else None

    @property
    def suspects(self) -> tuple[str, ...]:
        """What others have made that may be why living replicas have recorded nothing for some seconds."""
        state = self.redis.state
        pending_s = (state.oldest_pending_age_s or 0) if state.pending else 0
        nothing = bool(self.redis.alive) and min(pending_s, self._still_s) > AT_ONCE_S
        tables = None if self.database is None else self.database.state.tables
        return tables.may_change_rows if tables is not None and nothing and self._could_record else ()

    @property
    def gets_on(self) -> bool:
        """Whether what is to be done is being done, or will be at once."""
        return not self.nobody_works and not self.suspects and self.standstill_s is None

    @property
    def work(self) -> str:
        """What is to be done, as a sentence begins."""
        waiting, pending = self.redis.survey.waiting, self.redis.state.pending
        if not waiting.waiting:
            return f"{counted(pending, 'order')} {'is' if pending == 1 else 'are'} pending"
        least = "" if waiting.waiting_exact else "at least "
        oldest_s = waiting.oldest_waiting_age_s
        age = "" if oldest_s is None else f" (the oldest for {span(oldest_s)})"
        return (
            f"{least}{counted(waiting.waiting, 'order')} {'waits' if waiting.waiting == 1 else 'wait'}{age}"
        )

    @property
    def replicas(self) -> str:
        """Who is there to do it."""
        alive = self.redis.alive
        return f"{counted(alive, 'replica')} alive" if alive else "no replica was heard of lately"

    @property
    def _could_record(self) -> bool:
        return self.database is not None and self.database.state.schema.is_usable

    @property
    def _still_s(self) -> float:
        """For how long nothing was recorded; for ever where nothing ever was."""
        outcomes = None if self.database is None else self.database.outcomes
        recorded_s = None if outcomes is None else outcomes.last_recorded_age_s
        return math.inf if recorded_s is None else recorded_s
