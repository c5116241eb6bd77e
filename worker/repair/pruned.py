"""What an audit makes of results whose rows were pruned: neither lost nor sound, but no more than were."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date

from worker.domain.deliveries import is_entry_id
from worker.domain.evidence import Finding, Invariant
from worker.domain.pruning import day_of

TOO_MANY = (
    "{} results of orders that came on {} have no row, and the rows of {} were pruned:"
    " some have lost theirs, and nothing tells which"
)


class PrunedRows:
    """The days from which rows were pruned, and how many results without a row were met of each."""

    def __init__(self) -> None:
        self._days: Mapping[date, int] = {}
        self._met = Counter[date]()

    def know(self, days: Mapping[date, int]) -> None:
        """Take what was pruned by now: on which days entries came, and how many of their rows had results."""
        self._days = days

    def may_be(self, entry_id: str) -> bool:
        """Whether the row of an entry may have been pruned."""
        return bool(self._days) and is_entry_id(entry_id) and day_of(entry_id) in self._days

    def is_of_before(self, owners: Mapping[str, str], order_id: str, entry_id: str) -> bool:
        """Whether a result may be of a row that was pruned before its order came as a new one.

        `owners` are the entries that own the rows of today, by order.
        """
        return owners.get(order_id, entry_id) != entry_id and self.may_be(entry_id)

    def meet(self, entry_id: str) -> bool:
        """Count a result without a row where that may have been pruned; return whether it may."""
        if not self.may_be(entry_id):
            return False
        self._met[day_of(entry_id) or date.max] += 1
        return True

    def findings(self) -> Iterator[Finding]:
        """Yield a finding of each day of which more results have no row than were pruned."""
        for day, met in sorted(self._met.items()):
            if met > self._days[day]:
                what = TOO_MANY.format(met, day.isoformat(), self._days[day])
                yield Finding(Invariant.ONE_RESULT, None, None, what)
