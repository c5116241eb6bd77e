"""The evidence and the mending of a FakeStream and a FakeTable, for repairs without servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from tests.builders import pairs
from worker.domain.errors import Outage
from worker.domain.evidence import Fate, Marked, Owner
from worker.domain.orders import Status
from worker.stream.mending import HEARD_OF_WITHIN_MS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    # The bench puts these together with its fakes.
    from tests.fakes import FakeClock, FakeOrders, FakeStore
    from worker.domain.deliveries import Settlement
    from worker.domain.orders import OrderRecord


class FakeEvidence:
    """What a FakeStream holds."""

    def __init__(self, orders: FakeOrders) -> None:
        self._orders = orders
        self.stream = orders.stream

    def fates(self, entry_ids: Sequence[str]) -> dict[str, Fate]:
        with self._orders.faults.at("fates"):
            return {each: self.fate(each) for each in entry_ids}

    def fate(self, entry_id: str) -> Fate:
        stream, group = self.stream, self.stream.group
        return Fate(
            pending=group is not None and entry_id in group.pending,
            waiting=stream.awaits(entry_id),
            noted=entry_id in stream.trimmed,
            marked=entry_id in stream.settled,
            old=stream.is_old(entry_id),
            marks=replace(stream.marks, made=""),
        )

    def entries(self, entry_ids: Sequence[str]) -> dict[str, tuple[bytes, ...]]:
        with self._orders.faults.at("entries"):
            return {each: self.stream.entries[each] for each in entry_ids if each in self.stream.entries}

    def result_pages(self, first: str, last: str) -> Iterator[list[FakeEntry]]:
        del first, last  # the fake remembers no times
        yield from self._pages("result_pages", self.stream.results)

    def letter_pages(self, first: str, last: str) -> Iterator[list[FakeEntry]]:
        del first, last
        yield from self._pages("letter_pages", list(map(pairs, self.stream.letters)))

    def results_lost_until_ms(self) -> int:
        with self._orders.faults.at("results_lost_until_ms"):
            return self.stream.results_lost_ms

    def _pages(self, step: str, said: Sequence[Mapping[str, str]]) -> Iterator[list[FakeEntry]]:
        with self._orders.faults.at(step):
            page = [
                FakeEntry(tuple(part.encode() for pair in each.items() for part in pair)) for each in said
            ]
        if page:
            yield page


class FakeEntry(Struct, frozen=True):
    """What stands in an entry."""

    fields: tuple[bytes, ...]


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

    def restore(self, settlements: Sequence[Settlement]) -> list[bool]:
        with self._orders.faults.at("restore"):
            stream = self._orders.stream
            if (
                stream.repairs.get(self._orders.consumer, stream.clock.milliseconds())
                < stream.clock.milliseconds()
            ):
                raise Outage("redis", "held up")
            return [self._restore(each) for each in settlements]

    def _restore(self, settlement: Settlement) -> bool:
        stream, fate = self._orders.stream, self._evidence.fate(settlement.entry_id)
        again, mark = settlement.action in {"republish", "rebury"}, settlement.mark or settlement.entry_id
        done = settlement.entry_id in stream.again if again else mark in stream.settled
        if fate.pending or fate.noted or done or not (again or self._told(settlement, fate)):
            return False
        if again:
            stream.again.add(settlement.entry_id)
        stream.begin_marks()
        stream.settled.add(mark)
        entry_ms = int(settlement.entry_id.partition("-")[0])
        stream.restored_ms[mark] = max(stream.clock.milliseconds(), entry_ms)
        if settlement.action in {"publish", "republish"}:
            stream.results.append(pairs(settlement.fields))
        elif settlement.action in {"bury", "rebury"}:
            stream.letters.append(tuple(settlement.fields))
        return True

    def _told(self, settlement: Settlement, fate: Fate) -> bool:
        if settlement.action == "mark" or settlement.stands_since_ms is None:
            return not fate.old
        told = replace(fate, marked=False).settled(
            settlement.stands_since_ms, buried=settlement.action == "bury"
        )
        return told is False

    def note(self, report: Mapping[str, str]) -> None:
        with self._orders.faults.at("note"):
            self.notes.append(report)


class FakeRows:
    """What a FakeTable holds, by the time of execution."""

    def __init__(self, store: FakeStore, clock: FakeClock) -> None:
        self._store = store
        self._clock = clock
        self.streams = 1

    def now(self) -> datetime:
        with self._store.faults.at("now"):
            return self._clock.now()

    def recorded(self, after: Owner, until: datetime, count: int) -> list[Owner]:
        with self._store.faults.at("recorded"), self._store.table.lock:
            found = sorted(
                (row.executed_at, row.entry_id)
                for row in self._store.table.rows.values()
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
        return {entry_id: row.order_id for entry_id, row in self._store.find(entry_ids).items()}

    def rows_of_entries(self, entry_ids: Sequence[str]) -> dict[str, OrderRecord]:
        return self._store.find(entry_ids)
