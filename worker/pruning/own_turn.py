"""The replica's own turn: rows go beside the orders, a page between two batches."""

from collections import Counter
from datetime import timedelta

import structlog

from worker.domain.ports import Monotonic, Turn
from worker.domain.pruning import Refusal
from worker.pruning.ports import Rows
from worker.pruning.prune import Prune

log = structlog.get_logger(__name__)

# How often it is looked whether more rows have come of age.
EVERY_S = 10.0
# Of those that have stayed, whether they may go now; and all of it, where there was no order for a while:
# then hardly any comes of age, and a serverless PostgreSQL may sleep.
ANEW_EVERY_S = 3600.0
IDLE_AFTER_S = 600.0
# Half of one replica's time goes to it at the most, however much is due.
RESTS = 1.0


class OwnTurn:
    """One replica prunes at a time, in turns that run out. `keep_s` 0: nobody does."""

    def __init__(self, prune: Prune, rows: Rows, turn: Turn, *, keep_s: float, clock: Monotonic) -> None:
        self._prune = prune
        self._rows = rows
        self._turn = turn
        self._keep = timedelta(seconds=keep_s)
        self._clock = clock
        self._due = clock()
        self._anew_at = clock() + ANEW_EVERY_S
        self._pruned = 0
        self._refused = Counter[Refusal]()
        self._why: str | None = None

    def go_on(self, *, idle_s: float = 0.0) -> None:
        """Let a page of rows go where it is due and our turn, which has had no order for so long.

        Raises Outage.
        """
        if not self._keep or self._clock() < self._due:
            return
        # Before it is tried: what fails for good must not keep the loop from its orders.
        self._due = self._clock() + (EVERY_S if idle_s < IDLE_AFTER_S else ANEW_EVERY_S)
        if not self._turn.take():
            return
        began = self._clock()
        step = self._prune.page(self._rows.now() - self._keep)
        self._pruned += step.pruned
        self._refused.update(step.refused)
        self._why = self._why or step.why
        if step.more:
            self._due = self._clock() + RESTS * (self._clock() - began)
            return
        self._turn.end()
        self._tell()
        if self._clock() >= self._anew_at:
            self._prune.begin_anew()
            self._anew_at = self._clock() + ANEW_EVERY_S

    def _tell(self) -> None:
        if self._pruned or self._refused:
            stayed = {str(reason): count for reason, count in sorted(self._refused.items())}
            log.info("pruned rows", orders=self._pruned, stayed=stayed)
        if self._why is not None:
            log.warning("rows may not be deleted", one=self._why)
        self._pruned, self._refused, self._why = 0, Counter(), None
