"""The evidence and the mending of a FakeStream and a FakeTable, for repairs without servers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from tests.builders import pairs
from tests.groups import Pending
from tests.logs import between
from worker.domain.deliveries import BEGINNING, LOOKED_FOR
from worker.domain.errors import Outage
from worker.domain.evidence import Fate, LostRow, Marked, Owner, StandingRow
from worker.domain.orders import Status
from worker.stream.mending import HEARD_OF_WITHIN_MS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, datetime

    # The bench puts these together with its fakes.
    from tests.fakes import FakeClock, FakeOrders, FakeStore
    from worker.domain.deliveries import Restoration
    from worker.domain.orders import OrderRecord


class FakeEvidence:
    """What a FakeStream holds."""

    page = 500

    def __init__(self, orders: FakeOrders) -> None:
        self._orders = orders
        self.stream = orders.stream

    def fates(self, entry_ids: Sequence[str]) -> dict[str, Fate]:
        with self._orders.faults.at("fates"):
            return {each: self.fate(each) for each in entry_ids}

    def unknown(self) -> Iterator[Sequence[str]]:
        with self._orders.faults.at("unknown"):
            yield list(self.stream.unknown)

    def fate(self, mark: str) -> Fate:
        stream, group = self.stream, self._orders.group
        entry_id = mark.partition(":")[0]
        return Fate(
            pending=group is not None and entry_id in group.pending,
            waiting=stream.awaits(entry_id, group),
            noted=entry_id in self._orders.noted,
            marked=mark in stream.settled,
            old=stream.is_old(entry_id),
            unknown=entry_id in stream.unknown,
            marks=replace(stream.marks, made=""),
        )

    def orders(self) -> FakeExtent:
        with self._orders.faults.at("orders"):
            return _extent(self.stream.entries)

    def entries(self, entry_ids: Sequence[str]) -> dict[str, tuple[bytes, ...]]:
        with self._orders.faults.at("entries"):
            return {each: self.stream.entries[each] for each in entry_ids if each in self.stream.entries}

    def results(self) -> FakeExtent:
        with self._orders.faults.at("results"):
            return _extent(self.stream.results.ids)

    def letters(self) -> FakeExtent:
        with self._orders.faults.at("letters"):
            return _extent(self.stream.letters.ids)

    def order_pages(self, first: str, last: str) -> Iterator[list[FakeEntry]]:
        return self._pages("order_pages", lambda: list(self.stream.entries.items()), first, last)

    def result_pages(self, first: str, last: str) -> Iterator[list[FakeEntry]]:
        return self._pages("result_pages", self.stream.results.held, first, last)

    def letter_pages(self, first: str, last: str) -> Iterator[list[FakeEntry]]:
        return self._pages("letter_pages", self.stream.letters.held, first, last)

    def result(self, result_id: str) -> tuple[bytes, ...]:
        with self._orders.faults.at("result"):
            found = between(self.stream.results.held(), result_id, result_id)
            return fields_of(found[0][1]) if found else ()

    def last_result(self) -> str:
        with self._orders.faults.at("last_result"):
            return self.stream.results.last_id

    def letters_gone_until_ms(self) -> int:
        with self._orders.faults.at("letters_gone_until_ms"):
            return 0

    def counts_results(self) -> bool:
        with self._orders.faults.at("counts_results"):
            return self.stream.results.counts_added

    def results_lost_until_ms(self) -> int:
        with self._orders.faults.at("results_lost_until_ms"):
            return self.stream.results.lost_until_ms()

    def _pages(
        self, step: str, held: Callable[[], list[tuple[str, Any]]], first: str, last: str
    ) -> Iterator[list[FakeEntry]]:
        while True:
            with self._orders.faults.at(step):
                page = between(held(), first, last)[: self.page]
            if not page:
                return
            yield [FakeEntry(entry_id, fields_of(given)) for entry_id, given in page]
            first = f"({page[-1][0]}"


class FakeExtent(Struct, frozen=True):
    """How far a stream reaches."""

    first: str
    last: str
    length: int

    def may_be_trimmed(self, least_kept: int) -> bool:
        return 0 < least_kept <= self.length


class FakeEntry(Struct, frozen=True):
    """What stands in an entry."""

    entry_id: str
    fields: tuple[bytes, ...]


def _extent(ids: Collection[str]) -> FakeExtent:
    ordered = list(ids)
    return FakeExtent(*(ordered[0], ordered[-1]) if ordered else (BEGINNING, BEGINNING), len(ordered))


def fields_of(given: Mapping[str, str] | Sequence[str | bytes]) -> tuple[bytes, ...]:
    """Return what was given out as the stream holds it."""
    parts = [part for pair in given.items() for part in pair] if isinstance(given, Mapping) else given
    return tuple(part.encode() if isinstance(part, str) else part for part in parts)


class FakeMarks:
    """The marks of a FakeStream."""

    def __init__(self, orders: FakeOrders) -> None:
        self._orders = orders
        self.stream = orders.stream

    def state(self) -> Marked:
        with self._orders.faults.at("state"):
            return self.stream.begin_marks()

    def remember(self, entry_ids: Sequence[str], known: Marked) -> bool:
        with self._orders.faults.at("remember"):
            stream, now = self.stream, self.stream.begin_marks()
            if known.made not in {"", now.made}:
                return False
            stream.settled.update(entry_ids)
            for each in entry_ids:
                stream.restored_ms[each] = max(stream.clock.milliseconds(), int(each.partition("-")[0]))
            stream.known = replace(
                now,
                results_since_ms=_earlier(now.results_since_ms, known.results_since_ms),
                letters_since_ms=_earlier(now.letters_since_ms, known.letters_since_ms),
                walked_since_ms=_earlier(now.walked_since_ms, known.walked_since_ms),
            )
            return True

    def begin_walk(self) -> bool:
        with self._orders.faults.at("begin_walk"):
            reader, until_ms = self.stream.reader
            now = self.stream.clock.milliseconds()
            if reader != self._orders.consumer and until_ms > now:
                return False
            self.stream.reader = (self._orders.consumer, now + self._orders.lease_ms)
            return True

    def end_walk(self) -> None:
        with self._orders.faults.at("end_walk"):
            self.stream.reader = ("", 0)


def _earlier(one: int | None, other: int | None) -> int | None:
    given = [each for each in (one, other) if each is not None]
    return min(given, default=None)


class FakeRounds:
    """Work that replicas do in turn. Without a clock whoever has the turn keeps it until it ends it."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self._clock = clock
        self.turn: str | None = None
        self._until_ms = 0
        self.begun = 0
        self.by = dict[int, str]()
        self.done: tuple[int, int] | None = None

    def of(self, consumer: str, *, lease_ms: int = 5000) -> FakeRoundsOfOne:
        return FakeRoundsOfOne(self, consumer, lease_ms)

    def take(self, consumer: str, lease_ms: int) -> bool:
        now_ms = self._clock.milliseconds() if self._clock else 0
        left_ms = self._until_ms - now_ms
        if self._clock and not 0 < left_ms <= lease_ms:
            self.turn = None
        self.turn = self.turn or consumer
        if self.turn == consumer:
            self._until_ms = now_ms + lease_ms
        return self.turn == consumer


class FakeRoundsOfOne:
    """The same as one replica has it."""

    def __init__(self, rounds: FakeRounds, consumer: str, lease_ms: int) -> None:
        self._rounds = rounds
        self._consumer = consumer
        self._lease_ms = lease_ms

    def take_turn(self) -> bool:
        return self._rounds.take(self._consumer, self._lease_ms)

    def end_turn(self) -> None:
        self._rounds.turn = None

    def begun(self) -> int:
        return self._rounds.begun

    def begin(self) -> int:
        self._rounds.begun += 1
        self._rounds.by[self._rounds.begun] = self._consumer
        return self._rounds.begun

    def ended(self) -> tuple[int, int] | None:
        return self._rounds.done

    def end(self, number: int, said: int) -> bool:
        if self._rounds.by.get(number) != self._consumer:
            return False
        if self._rounds.done is None or number > self._rounds.done[0]:
            self._rounds.done = (number, said)
        return True


class FakeLostRows:
    """A book of lost rows that replicas share; `noted` and `accepted` have results by entry and order."""

    def __init__(self) -> None:
        self.noted: dict[tuple[str, str], str] = {}
        self.accepted: set[tuple[str, str]] = set()
        self.rounds = FakeRounds()

    def of(self, consumer: str) -> FakeLookingForRows:
        return FakeLookingForRows(self, consumer)


class FakeLookingForRows:
    """The book as one replica has it."""

    def __init__(self, book: FakeLostRows, consumer: str) -> None:
        self._book = book
        self.rounds = book.rounds.of(consumer)

    def end(self, look: int, from_ms: int) -> None:
        self.rounds.end(look, from_ms)

    def note(self, lost: Sequence[LostRow]) -> int:
        before = len(self._book.noted)
        for each in lost:
            if (each.entry_id, each.order_id) not in self._book.accepted:
                self._book.noted.setdefault((each.entry_id, each.order_id), each.result_id)
        return len(self._book.noted) - before

    def page(self, first: int) -> list[tuple[str, str]]:
        return list(self._book.noted)[first : first + FakeEvidence.page]

    def take_back(self, mended: Sequence[tuple[str, str]]) -> None:
        for each in mended:
            self._book.noted.pop(each, None)


class FakeMending:
    """What gives back to a FakeStream. `notes` has what repairs left for people."""

    def __init__(self, orders: FakeOrders) -> None:
        self._orders = orders
        self._evidence = FakeEvidence(orders)
        self.notes: list[Mapping[str, str]] = []

    def begin(self) -> None:
        with self._orders.faults.at("begin"):
            stream = self._orders.stream
            now = stream.clock.milliseconds()
            stream.repairs = {name: until for name, until in stream.repairs.items() if until >= now}
            if not stream.repairs:
                stream.again.clear()
            stream.repairs[self._orders.consumer] = now + HEARD_OF_WITHIN_MS

    def end(self) -> None:
        with self._orders.faults.at("end"):
            self._orders.stream.repairs.pop(self._orders.consumer, None)

    def restore(self, restorations: Sequence[Restoration]) -> list[bool]:
        with self._orders.faults.at("restore"):
            stream = self._orders.stream
            if (
                stream.repairs.get(self._orders.consumer, stream.clock.milliseconds())
                < stream.clock.milliseconds()
            ):
                raise Outage("redis", "held up")
            return [self._restore(each) for each in restorations]

    def _restore(self, settlement: Restoration) -> bool:
        stream, fate = self._orders.stream, self._evidence.fate(settlement.entry_id)
        again, mark = settlement.again, settlement.mark or settlement.entry_id
        done = settlement.entry_id in stream.again if again else mark in stream.settled
        decided = fate.unknown and settlement.action == "mark"
        if (
            fate.pending
            or fate.noted
            or not (decided or not done)
            or not (again or self._told(settlement, fate))
        ):
            return False
        if fate.unknown:
            stream.unknown.remove(settlement.entry_id)
        if again:
            stream.again.add(settlement.entry_id)
        stream.begin_marks()
        stream.settled.add(mark)
        entry_ms = int(settlement.entry_id.partition("-")[0])
        stream.restored_ms[mark] = max(stream.clock.milliseconds(), entry_ms)
        if settlement.action == "publish":
            stream.results.append(pairs(settlement.fields))
        elif settlement.action == "bury":
            stream.letters.append(tuple(settlement.fields))
        if settlement.entry_id in stream.unknown:
            stream.unknown.remove(settlement.entry_id)
        return True

    def _told(self, settlement: Restoration, fate: Fate) -> bool:
        if settlement.stands_since_ms == LOOKED_FOR:
            return True
        if settlement.action == "mark" or settlement.stands_since_ms is None:
            return fate.unknown or not fate.old
        told = replace(fate, marked=False).settled(
            settlement.stands_since_ms, buried=settlement.action == "bury"
        )
        return told is False

    def go_on(self) -> None:
        self.begin()

    def readopt(self, entry_ids: Sequence[str]) -> list[str]:
        with self._orders.faults.at("readopt"):
            orders, made = self._orders, []
            group, now_ms = orders.group, orders.stream.clock.milliseconds()
            for each in entry_ids if group is not None else ():
                fate = self._evidence.fate(each)
                if group is not None and each in orders.stream.entries and not (fate.pending or fate.noted):
                    group.pending[each] = Pending(orders.consumer, now_ms - orders.lease_ms, 0)
                    made.append(each)
            return made

    def note(self, report: Mapping[str, str]) -> None:
        with self._orders.faults.at("note"):
            self.notes.append(report)


class FakeRows:
    """What a FakeTable holds of a source, by the time of execution."""

    def __init__(self, store: FakeStore, clock: FakeClock) -> None:
        self._store = store
        self._clock = clock
        self.streams = 1
        self.connections = 1

    def now(self) -> datetime:
        with self._store.faults.at("now"):
            return self._clock.now()

    def recorded_until(self) -> datetime:
        now = self.now()
        return max([now, *(row.executed_at for row in self._store.ours)])

    def recorded(self, after: Owner, until: datetime, count: int) -> list[Owner]:
        with self._store.faults.at("recorded"), self._store.table.lock:
            found = sorted(
                (row.executed_at, row.entry_id)
                for row in self._store.ours
                if row.status is not Status.SUBMITTED
            )
            beginning = (after.recorded_at, after.entry_id)
            return [Owner(*each) for each in found if beginning < each and each[0] <= until][:count]

    def alone(self) -> bool:
        return self._store.alone()

    def streams_lately(self) -> int:
        with self._store.faults.at("streams_lately"):
            return self.streams

    def owned(self, entry_ids: Sequence[str]) -> dict[str, str]:
        return self.owned_by_source(entry_ids)

    def owned_by_source(self, entry_ids: Sequence[str]) -> dict[str, str]:
        return {entry_id: row.order_id for entry_id, row in self._store.find(entry_ids).items()}

    def rows_of_entries(self, entry_ids: Sequence[str]) -> dict[str, OrderRecord]:
        return self._store.find(entry_ids)

    def rows(self, order_ids: Sequence[str]) -> dict[str, OrderRecord]:
        owners = [row.entry_id for row in self._store.ours if row.order_id in order_ids]
        return {row.order_id: row for row in self._store.find(owners).values()}

    def expected_rows(self) -> int:
        return len(self._store.table.rows)

    def pages(self, *, from_entry: str, recorded_until: datetime) -> Iterator[list[OrderRecord]]:
        with self._store.faults.at("pages"), self._store.table.lock:
            page = [
                row
                for row in sorted(self._store.ours, key=lambda each: each.entry_id)
                if row.entry_id >= from_entry and row.executed_at <= recorded_until
            ]
        if page:
            yield page

    def pruned_days(self) -> dict[date, int]:
        return {}

    def standing(self, order_ids: Sequence[str]) -> dict[str, StandingRow]:
        with self._store.faults.at("standing"), self._store.table.lock:
            rows = self._store.table.rows
            ours = {row.order_id for row in self._store.ours}
            return {
                each: StandingRow(rows[each].entry_id if each in ours else "", rows[each].fingerprint)
                for each in order_ids
                if each in rows
            }

    def of_other_sources(self, order_ids: Sequence[str]) -> set[str]:
        with self._store.faults.at("of_other_sources"), self._store.table.lock:
            ours = {row.order_id for row in self._store.ours}
            return {each for each in order_ids if each in self._store.table.rows and each not in ours}
