"""The last station: outcomes become settlements, published or buried and acked in one step."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter
from typing import assert_never

import structlog
from msgspec.structs import replace

from worker import wire
from worker.consumer import telling
from worker.consumer.intake import Intake
from worker.consumer.isolation import Isolation
from worker.consumer.lease import Lease
from worker.consumer.measures import Measures
from worker.consumer.ports import Orders
from worker.consumer.tally import Tally, kind
from worker.domain.deliveries import (
    Dead,
    Delivery,
    Duplicate,
    Left,
    Outcome,
    Retry,
    Settled,
    Settlement,
    Settling,
    entry_milliseconds,
    mark_of_content,
)
from worker.domain.ports import Renderer
from worker.repair import Doubts, tell_of_the_unknown

log = structlog.get_logger(__name__)


class Settler:
    """Settles what was handled. Repeatable: until it works, outcomes are to be kept and settled again."""

    def __init__(
        self,
        stream: Orders,
        renderer: Renderer,
        intake: Intake,
        lease: Lease,
        doubts: Doubts,
        isolation: Isolation,
        tally: Tally,
        measures: Measures,
        hiding: wire.Hiding = wire.NOTHING_HIDDEN,
    ) -> None:
        self._stream = stream
        self._renderer = renderer
        self._intake = intake
        self._lease = lease
        self._doubts = doubts
        self._isolation = isolation
        self._tally = tally
        self._measures = measures
        self._hiding = hiding

    def settle(
        self,
        in_hand: Sequence[Delivery],
        outcomes: Sequence[Outcome],
        *,
        alone: bool,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Publish or bury, and ack, in one step; let go of all but what is to be tried again. Raises Outage.

        `alone`: nobody can have settled any of these since their rows were written. `meanwhile` is called
        while Redis is at it.
        """
        # Before anything is settled: should this fail, all of it is done once more.
        retries, released = self._release_what_has_no_room(outcomes)
        # Ack after commit: dying between the two costs a second delivery, which the inbox answers.
        settlements, unrendered = self._rendered(outcomes)
        written = (each.record for each in outcomes if isinstance(each, Settled) and not each.answered)
        first = min(written, key=attrgetter("executed_at"), default=None)
        began = self._measures.clock()
        settling = self._stream.settle(
            settlements,
            written_since_ms=0 if first is None else first.stands_since_ms,
            meanwhile=meanwhile,
        )
        took_s = self._measures.clock() - began
        if settling.in_doubt:
            self._doubt(outcomes, settlements, settling.in_doubt, alone=alone)
        if unrendered:
            self._isolation.set_aside(unrendered)
        aside = {delivery.entry_id for delivery, _ in unrendered}
        self._keep(in_hand, retries, _unbegun(in_hand, outcomes), aside)
        done = [each for each in outcomes if each.delivery.entry_id not in aside] if aside else outcomes
        kinds = Counter(map(kind, done))
        self._tally.settle(kinds)
        self._tally.lose(len(in_hand) - len(outcomes))
        self._tally.release(released)
        self._measures.settle(done, kinds, took_s)
        _report(done, kinds, settling, self._hiding)

    def _keep(
        self,
        in_hand: Sequence[Delivery],
        retries: Sequence[Retry],
        unbegun: Sequence[Delivery],
        aside: set[str],
    ) -> None:
        """Have what is not done wait in hand, and let go of the others."""
        for retry in retries:
            self._intake.postpone(retry.delivery, at_least_s=retry.after_s)
        self._intake.put_first(unbegun)
        kept = {retry.delivery.entry_id for retry in retries} | {each.entry_id for each in unbegun} | aside
        self._lease.let_go(delivery for delivery in in_hand if delivery.entry_id not in kept)

    def _release_what_has_no_room(self, outcomes: Sequence[Outcome]) -> tuple[list[Retry], int]:
        """Leave to the stream those that too many others wait beside; return the rest, and how many.

        They are left at what they are charged with.
        """
        retries = [outcome for outcome in outcomes if isinstance(outcome, Retry)]
        room = self._intake.room_for([retry.delivery for retry in retries])
        released = {retry.delivery.entry_id: retry.delivery.count for retry in retries[room:]}
        if released:
            self._stream.release(released)
        return retries[:room], len(released)

    def _rendered(
        self, outcomes: Sequence[Outcome]
    ) -> tuple[list[Settlement], list[tuple[Delivery, Exception]]]:
        """Return the settlements, and the deliveries of which none can be made, with what went wrong."""
        settlements, unrendered = list[Settlement](), list[tuple[Delivery, Exception]]()
        for outcome in outcomes:
            try:
                settlements += self._settlement(outcome)
            except Exception as error:  # noqa: BLE001  a committed row's fault costs the others nothing
                unrendered.append((outcome.delivery, error))
        return settlements, unrendered

    def _doubt(
        self,
        outcomes: Sequence[Outcome],
        settlements: Sequence[Settlement],
        entry_ids: Collection[str],
        *,
        alone: bool,
    ) -> None:
        """Leave it to the streams whether others settled what has no mark; until then it stays pending."""
        deliveries = {outcome.delivery.entry_id: outcome.delivery for outcome in outcomes}
        records = {each.delivery.entry_id: each.record for each in outcomes if isinstance(each, Settled)}
        in_doubt = set(entry_ids)
        for part in settlements:
            if part.entry_id in in_doubt:
                record = records.get(part.entry_id)
                since_ms = part.stands_since_ms if record is None else record.stands_since_ms
                settlement = replace(part, stands_since_ms=since_ms or 0)
                written = part.stands_since_ms is None and alone
                # What it held is in its letter, if anywhere.
                bare = replace(deliveries[part.entry_id], fields=(), withheld=None)
                self._doubts.add(settlement, bare, written=written)

    def _settlement(self, outcome: Outcome) -> list[Settlement]:
        """Return what an outcome means on the stream."""
        match outcome:
            case Settled(delivery, record, answered):
                settlement = self._renderer.result(delivery, record)
                return [
                    replace(settlement, stands_since_ms=record.stands_since_ms) if answered else settlement
                ]
            case Duplicate(delivery):
                return [Settlement(delivery.entry_id, "ack")]
            case Dead(delivery, reason, error, order_id, owns_row):
                mark = "" if owns_row else mark_of_content(delivery)
                letter = self._renderer.letter(
                    delivery, reason=reason, error=error, order_id=order_id, mark=mark
                )
                return [replace(letter, stands_since_ms=entry_milliseconds(delivery.entry_id))]
            case Retry() | Left():
                return []
        assert_never(outcome)


def _unbegun(in_hand: Sequence[Delivery], outcomes: Sequence[Outcome]) -> list[Delivery]:
    """Return what was not begun, in the order in which it was taken."""
    left = {outcome.delivery.entry_id: outcome.delivery for outcome in outcomes if isinstance(outcome, Left)}
    return [left[each.entry_id] for each in in_hand if each.entry_id in left] if left else []


def _report(
    outcomes: Sequence[Outcome], kinds: Mapping[str, int], settling: Settling, hiding: wire.Hiding
) -> None:
    left = settling.left
    log.info("batch settled", entries=len(outcomes), **kinds)
    if settling.unknown:
        tell_of_the_unknown(settling.unknown)
    if left:
        log.warning(
            "not settled, others have done that or will: this replica stood still for too long to tell",
            entries=len(left),
            entry_id=left[0],
        )
    if telling.is_wanted():
        telling.tell_settled([each for each in outcomes if each.delivery.entry_id not in left])
    for outcome in outcomes:
        if isinstance(outcome, Dead):
            log.warning(
                "no dead letter, others have written it or will"
                if outcome.delivery.entry_id in left
                else "dead letter",
                **{"order_id": None, **telling.ids_of_outcome(outcome)},
                reason=outcome.reason,
                error=hiding.told(outcome.error, outcome.delivery.fields),
            )
