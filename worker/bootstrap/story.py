"""Gathers the story of one order from whoever knows something of it.

How its entry stands is asked first, then results and dead letters are searched, and its row is read before
and after: what is published or buried was committed before, and is marked in the same step, so that what is
missing then was missing all the while.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from msgspec.structs import asdict, replace

from worker import wire
from worker.bootstrap.parts.judging import Judging
from worker.bootstrap.parts.subject import Subject, Subjects
from worker.bootstrap.parts.traces import Traces, pairs_of, shown_fields
from worker.bootstrap.parts.witnesses import Witnesses
from worker.domain.evidence import Fate
from worker.domain.orders import OrderRecord
from worker.domain.pruning import Pruned, day_of
from worker.domain.searching import FoundOrder, FoundOrders, Search
from worker.status.story import Entered, Held, Row, Story
from worker.store import OrderRow, OrderSearch

LOOKED_AT_AGAIN = 5
# What both a row and a line of the search say of an order.
ORDER_COLUMNS = ("symbol", "side", "quantity", "filled_quantity", "average_price")


class Narrator:
    """Tells stories. Raises Outage where a server does not answer, Refused where a row can't be read."""

    def __init__(
        self, witnesses: Witnesses, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.witnesses = witnesses
        self._clock = clock
        self._subjects = Subjects(witnesses)
        self._traces = Traces(witnesses, self._subjects, clock)
        self._judging = Judging(witnesses)

    def __call__(self, identifier: str) -> Story | None:
        """Return the story of an order by its order id or an entry id, None where nothing is known of it."""
        for _ in range(LOOKED_AT_AGAIN):
            told = self._looked_at(identifier, self._subjects.find(identifier))
            if told is None or (told.steady and not _is_being_settled(told)):
                break
        return told

    def pruned(self, identifier: str) -> Pruned | None:
        """Return which rows were let go that may have been of an order of which nothing is known."""
        entry_id = self._subjects.named_by(identifier)
        return self.witnesses.rows.pruned(None) if entry_id is None else self._pruned(entry_id)

    def _pruned(self, entry_id: str) -> Pruned | None:
        """Return which rows were let go of the day of an entry; none were of one that no calendar has."""
        day = day_of(entry_id)
        return None if day is None else self.witnesses.rows.pruned(day)

    def _looked_at(self, identifier: str, subject: Subject) -> Story | None:
        ask, entry_id, row = self.witnesses, subject.entry_id, subject.row
        fate = ask.evidence.fates([entry_id])[entry_id] if entry_id else Fate()
        held = self._held(entry_id) if entry_id else None
        checked_at = self._clock()
        results = self._traces.results(subject, fate)
        letters = self._traces.letters(subject)
        if (
            row is None
            and subject.entry is None
            and not (letters.found or results.found or fate.marked or fate.in_flight)
        ):
            return None
        may_be_pruned = row is None and subject.entry is None and fate.past
        story = Story(
            identifier=identifier,
            checked_at=checked_at,
            order_id=subject.order_id,
            entered=self._entered(subject),
            fate=fate,
            held=held,
            row=None if row is None else self._row(row),
            pruned=self._pruned(entry_id) if entry_id and may_be_pruned else None,
            is_owner=subject.is_owner,
            results=results,
            letters=letters,
            duplicates=self._traces.duplicates(subject),
            steady=self._is_steady(subject, fate, held),
        )
        return self._concealed(self._judging.judged(story, subject), subject)

    def _concealed(self, story: Story, subject: Subject) -> Story:
        """Return the story without what hidden fields say, where texts quote it; their names go along."""
        hiding = self.witnesses.hiding
        if not hiding:
            return story
        fields = () if subject.entry is None else subject.entry.fields
        said = {} if subject.row is None else columns_of(subject.row.record)

        def told(text: str) -> str:
            return hiding.quoting(hiding.told(text, fields), said)

        row = story.row
        if row is not None and row.record.error_message is not None:
            record = replace(row.record, error_message=told(row.record.error_message))
            row = replace(row, record=record)
        findings = tuple(replace(each, what=told(each.what)) for each in story.findings)
        return replace(story, row=row, findings=findings, hidden=hiding.names)

    def _is_steady(self, subject: Subject, fate: Fate, held: Held | None) -> bool:
        """Whether nothing has happened while it was looked at."""
        # Not by its entry first: the row of that id may be another order's.
        known_by = subject.order_id if subject.row is None else subject.row.record.order_id
        after = self.witnesses.store.row(known_by or subject.entry_id or "")
        return after == subject.row and fate.pending == (held is not None)

    def _entered(self, subject: Subject) -> Entered | None:
        if subject.entry_id is None:
            return None
        fields = (
            ()
            if subject.entry is None
            else shown_fields(pairs_of(subject.entry.fields), self.witnesses.hiding)
        )
        return Entered(subject.entry_id, subject.entry is not None, fields, subject.another)

    def _held(self, entry_id: str) -> Held | None:
        (found,) = self.witnesses.pending.find([entry_id])
        if found is None:
            return None
        return Held(
            found.consumer.decode("utf-8", "replace"),
            None if found.given_back else found.idle_ms,
            found.deliveries,
            found.is_claimable(self.witnesses.lease_ms),
        )

    def _row(self, row: OrderRow) -> Row:
        other = None if row.source in {"", self.witnesses.source} else row.source
        return Row(row.record, row.recorded_at, other)


def _is_being_settled(story: Story) -> bool:
    """Whether what it was settled with was found, though it was not settled when that was asked."""
    buried = any(story.entered and each.entry_id == story.entered.entry_id for each in story.letters.found)
    found = buried or (story.is_owner and bool(story.results.found))
    return found and story.fate.in_flight and not story.fate.marked


def columns_of(record: OrderRecord) -> dict[str, object]:
    """Return what a row says of its order, by the names of fields."""
    said = {name: getattr(record, name) for name in ORDER_COLUMNS} | asdict(record.labels)
    return {name: value for name, value in said.items() if value is not None}


class OrderDesk:
    """Whom the pages ask about orders. Raises Outage, and Refused where a row can't be read."""

    def __init__(self, narrator: Narrator, search: OrderSearch) -> None:
        self._narrator = narrator
        self._search = search

    @property
    def hidden(self) -> frozenset[str]:
        """The names of fields whose values nobody is shown."""
        return self._narrator.witnesses.hiding.names

    def story(self, identifier: str) -> Story | None:
        """Return the story of an order, None where nothing is known of it."""
        return self._narrator(identifier)

    def pruned(self, identifier: str) -> Pruned | None:
        """Return which rows were let go that may have been of an order of which nothing is known."""
        return self._narrator.pruned(identifier)

    def search(self, wanted: Search) -> FoundOrders:
        """Return a page of the recorded orders that are as wanted."""
        found, hiding = self._search(wanted), self._narrator.witnesses.hiding
        return replace(found, orders=tuple(_concealed(each, hiding) for each in found.orders))


def _concealed(order: FoundOrder, hiding: wire.Hiding) -> FoundOrder:
    """Return a row without the values of hidden fields."""
    said = {name: getattr(order, name) for name in ORDER_COLUMNS}
    error = order.error_message
    return replace(
        order,
        **{name: None for name in ORDER_COLUMNS if hiding.hides(name)},
        error_message=None if error is None else hiding.quoting(error, said),
    )
