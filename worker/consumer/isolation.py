"""What is done about an error nobody expected: whoever causes it is found, and takes nobody down with it."""

from collections import Counter
from collections.abc import Sequence

import structlog
from msgspec.structs import replace

from worker.consumer import telling
from worker.consumer.intake import Intake
from worker.consumer.lease import Lease
from worker.consumer.ports import Orders
from worker.consumer.tally import Tally
from worker.domain.deliveries import Delivery
from worker.domain.errors import Outage, named

log = structlog.get_logger(__name__)


class Isolation:
    """Charges an unexpected error to those being handled, and hands them out again in groups that shrink.

    So the one that causes it ends up alone, and is buried once it has been charged too often. An error that
    strikes different deliveries, with no success in between, is nobody's fault: an outage. Then charges are
    taken back that groups were given since the last success, until the next one nobody is charged, and one
    delivery is tried at a time, another one each time.
    """

    def __init__(
        self, stream: Orders, intake: Intake, lease: Lease, tally: Tally, *, max_deliveries: int
    ) -> None:
        self._stream = stream
        self._intake = intake
        self._lease = lease
        self._tally = tally
        self._max_deliveries = max_deliveries
        self._suspects: frozenset[str] = frozenset()
        self._outage: Outage | None = None
        # How often each was charged together with others since the last success.
        self._charged_in_groups: Counter[str] = Counter()

    def take(self) -> list[Delivery]:
        """Return what to handle next: a group, and during an outage a single delivery. Raises Outage."""
        if self._outage is None:
            return self._intake.take()
        found = self._intake.take_one()
        if not found and self._intake.empty:
            # Those it has struck are with others now.
            self.succeeded()
        return found

    def succeeded(self) -> None:
        """Note that deliveries were handled."""
        if self._suspects:
            self._suspects, self._outage = frozenset(), None
            self._charged_in_groups.clear()

    def check(self) -> None:
        """Raise the outage while it lasts."""
        if self._outage is not None:
            raise self._outage

    def strike(self, deliveries: Sequence[Delivery], error: Exception) -> None:
        """Put deliveries back whose handling has raised an error.

        Raises Outage; then they are in hand as before.
        """
        self._tally.unexpected += 1
        log.error("unexpected error", entries=len(deliveries), error=named(error), exc_info=error)
        self._blame(frozenset(each.entry_id for each in deliveries), error)
        if (
            self._outage is None
            and len(deliveries) == 1
            and deliveries[0].count_before >= self._max_deliveries
        ):
            # Not even its letter can be written. Once it can, it has one more chance: that may have been the
            # fault of all.
            once_more = replace(deliveries[0], count=self._max_deliveries - 1, charged=False)
            self._stream.charge({once_more.entry_id: once_more.count})
            self.set_aside([(once_more, error)])
            return
        counts = {each.entry_id: self._count_of(each) for each in deliveries}
        lost = set(self._stream.charge(self._taken_back() | counts))
        self._note_charges(deliveries)
        ours = [each for each in deliveries if each.entry_id not in lost]
        self._lease.let_go(each for each in deliveries if each.entry_id in lost)
        self._tally.lose(len(deliveries) - len(ours))
        failure = "" if self._outage else named(error)
        self._intake.put_back(
            [
                replace(each, count=counts[each.entry_id], charged=False, failure=failure or each.failure)
                for each in ours
            ]
        )

    def set_aside(self, failed: Sequence[tuple[Delivery, Exception]]) -> None:
        """Keep pending what can't be settled or buried, tell of it and try it now and then. Raises Outage."""
        self._stream.set_aside([delivery.entry_id for delivery, _ in failed])
        for delivery, error in failed:
            log.error(
                "set aside, neither its result nor a letter can be given out",
                **telling.ids_of_entry(delivery),
                error=named(error),
                to_do=f"worker show {delivery.entry_id}",
            )
            self._intake.set_aside(replace(delivery, charged=False))

    def _count_of(self, delivery: Delivery) -> int:
        if self._outage is None:
            return delivery.count_before + 1
        return delivery.count_before - self._charged_in_groups[delivery.entry_id]

    def _taken_back(self) -> dict[str, int]:
        """Return what waiting deliveries are charged with once an outage is told from a fault of theirs."""
        if self._outage is None:
            return {}
        counts = self._intake.take_back(self._charged_in_groups)
        self._charged_in_groups.clear()
        return counts

    def _note_charges(self, deliveries: Sequence[Delivery]) -> None:
        # What fails alone is charged for itself.
        if self._outage is None and len(deliveries) > 1:
            self._charged_in_groups.update(each.entry_id for each in deliveries)

    def _blame(self, struck: frozenset[str], error: Exception) -> None:
        both = struck & self._suspects
        if self._suspects and not both:
            self._outage = Outage("worker", f"whatever is handled ends in {named(error)}")
        self._suspects = both or struck
