"""What an audit has seen, and from where on it could see."""

from msgspec import Struct

from worker.domain.deliveries import entry_milliseconds
from worker.repair.ports import Extent


class Seen(Struct):
    """What an audit has seen; what it could not see is named as such."""

    orders: int = 0
    in_flight: int = 0
    duplicates: int = 0
    rows: int = 0
    trimmed: int = 0
    results: int = 0
    letters: int = 0
    redone: int = 0
    unsteady: int = 0
    results_out_of_range: int = 0
    letters_out_of_range: int = 0
    pruned: int = 0
    unsourced: int = 0
    foreign: int = 0
    findings: int = 0


class Range(Struct):
    """From where on each store was seen. Ids compare by their milliseconds."""

    since_ms: int
    orders: Extent
    results: Extent
    letters: Extent
    results_trimmed: bool

    def holds(self, entry_id: str) -> bool:
        """Whether an entry is not older than what is audited."""
        return entry_milliseconds(entry_id) >= self.since_ms

    def shows_result_of(self, entry_id: str) -> bool:
        """Whether an entry's result can't have been trimmed: it was published after the first there is."""
        if not self.results_trimmed:
            return True
        return entry_milliseconds(entry_id) > entry_milliseconds(self.results.first)
