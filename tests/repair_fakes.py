"""The evidence and the mending of a FakeStream and a FakeTable, for repairs without servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.builders import pairs
from worker.domain.errors import Outage
from worker.domain.evidence import Fate, Owner
from worker.domain.orders import Status
from worker.stream.mending import HEARD_OF_WITHIN_MS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
        )

    def entries(self, entry_ids: Sequence[str]) -> dict[str, tuple[bytes, ...]]:
        with self._orders.faults.at("entries"):
            return {each: self.stream.entries[each] for each in entry_ids if each in self.stream.entries}

    def named(self, entry_ids: Sequence[str], *, from_ms: int) -> set[str]:
        del from_ms  # the fake remembers no times
        with self._orders.faults.at("named"):
            given_out = [*self.stream.results, *map(pairs, self.stream.letters)]
            return {each["entry_id"] for each in given_out}.intersection(entry_ids)


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
        again = settlement.action in {"republish", "rebury"}
        done = settlement.entry_id in (stream.again if again else stream.settled)
        if fate.pending or fate.noted or done or (fate.old and not again):
            return False
        if again:
            stream.again.add(settlement.entry_id)
        if not fate.old:
            stream.settled.add(settlement.entry_id)
            entry_ms = int(settlement.entry_id.partition("-")[0])
            stream.restored_ms[settlement.entry_id] = max(stream.clock.milliseconds(), entry_ms)
        if settlement.action in {"publish", "republish"}:
            stream.results.append(pairs(settlement.fields))
        elif settlement.action in {"bury", "rebury"}:
            stream.letters.append(tuple(settlement.fields))
        return True

    def note(self, report: Mapping[str, str]) -> None:
        with self._orders.faults.at("note"):
            self.notes.append(report)


class FakeRows:
    """What a FakeTable holds, by the time of execution."""

    def __init__(self, store: FakeStore, clock: FakeClock) -> None:
        self._store = store
        self._clock = clock

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

    def rows_of_entries(self, entry_ids: Sequence[str]) -> dict[str, OrderRecord]:
        return self._store.find(entry_ids)
