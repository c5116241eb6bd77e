"""The two worlds of the conformance suites: real servers, and the fakes that stand in for them elsewhere."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Protocol

import pytest
from sqlalchemy import update

from tests.fakes import FLEET, FakeClock, FakeOrders, FakeStore, FakeStream, FakeTable
from tests.groups import Pending, id_order
from tests.harness import Deployment, names_of
from tests.repair_fakes import FakeEvidence, FakeLostRows, FakeMarks, FakeMending
from tests.skips import counts_added
from worker.consumer.ports import Orders, Store
from worker.domain.fleets import Fleet
from worker.repair.ports import Book, Marks
from worker.repair.ports import Streams as Evidence
from worker.store import OrderStore, Sources
from worker.store.tables import orders
from worker.stream import LostRowsBook, OrderStream, RedisLink, RedisNames, StreamEvidence
from worker.stream import Marks as RedisMarks
from worker.stream import Mending as RedisMending
from worker.stream.clock import ServerClock
from worker.stream.link.outages import text

LEASE_MS = 30_000


class Streams(Protocol):
    """The streams of one deployment, as the tests arrange and look at them from outside."""

    def consumer(self, name: str, *, channel: str | None = None, marks_stay_ms: int = ...) -> Orders:
        """Return one consumer's port; its retention drops marks so long after their entries went for good."""

    def evidence(self) -> Evidence:
        """Return what tells how entries stand."""

    def mending(self, name: str, *, channel: str | None = None) -> FakeMending | RedisMending:
        """Return what gives back to the streams, in the name of a consumer."""

    def marks_port(self, name: str) -> Marks:
        """Return what knows of all marks, in the name of a consumer."""

    def lost_rows(self, name: str) -> Book:
        """Return the book of lost rows, in the name of a consumer."""

    def accept_lost_rows(self) -> None:
        """Accept what is noted, as a person does."""

    def lose_marks(self) -> None:
        """Let Redis lose the settled marks."""

    def trim_results(self) -> None:
        """Trim all results, as their readers may."""

    def delete_result(self, place: int) -> None:
        """Delete one result, as a person may."""

    def unknown(self) -> set[str]:
        """Return the entries of which it is noted that nobody can know if their results were published."""

    def add(self, *fields: bytes) -> str:
        """Add an entry of these names and values."""

    def add_under(self, entry_id: str, *fields: bytes) -> str:
        """Add an entry under an id of the producer's own."""

    def age(self, *entry_ids: str) -> None:
        """Let the leases of pending entries run out."""

    def pass_time(self, milliseconds: int) -> None:
        """Move the clock by which notes of trimmed entries are dated."""

    def delete(self, entry_id: str) -> None:
        """Trim one entry."""

    def delete_stream(self) -> None:
        """Delete the stream with its groups."""

    @property
    def counts_added(self) -> bool:
        """Whether the server counts what was ever added (from 7.0 on)."""

    def trim_to(self, length: int) -> None:
        """Trim as a producer does, whatever was read."""

    def entries(self) -> list[str]:
        """Return the ids in the stream."""

    def marks(self) -> set[str]:
        """Return the ids that are marked as settled."""

    def lag_behind(self, group: str, *, read: int, acked: int) -> None:
        """Let another group have read this many entries from the beginning, and acked the first of them."""

    def destroy_group(self) -> None:
        """Destroy the group."""

    def pending(self) -> dict[str, tuple[str, int]]:
        """Return who holds which entry, and its delivery count."""

    def set_aside(self) -> set[str]:
        """Return what is noted as set aside."""

    def consumers(self) -> set[str]:
        """Return the consumers of the group."""

    def results(self) -> list[dict[str, str]]:
        """Return every result."""

    def letters(self) -> list[Mapping[str, bytes]]:
        """Return every dead letter."""


class FakeStreams:
    """The fakes."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.stream = FakeStream(self.clock)
        self.book = FakeLostRows()

    def consumer(self, name: str, *, channel: str | None = None, marks_stay_ms: int = 0) -> Orders:
        assert channel is None, "the fake has no channels"
        self.stream.marks_stay_ms = marks_stay_ms
        return FakeOrders(self.stream, name, lease_ms=LEASE_MS)

    def evidence(self) -> Evidence:
        return FakeEvidence(FakeOrders(self.stream, "looking", lease_ms=LEASE_MS))

    def mending(self, name: str, *, channel: str | None = None) -> FakeMending:
        assert channel is None, "the fake has no channels"
        return FakeMending(FakeOrders(self.stream, name, lease_ms=LEASE_MS))

    def marks_port(self, name: str) -> Marks:
        return FakeMarks(FakeOrders(self.stream, name, lease_ms=LEASE_MS))

    def lost_rows(self, name: str) -> Book:
        return self.book.of(name)

    def accept_lost_rows(self) -> None:
        self.book.accepted, self.book.noted = set(self.book.noted), {}

    def lose_marks(self) -> None:
        self.stream.lose_marks()

    def trim_results(self) -> None:
        self.stream.results.trim(len(self.stream.results))

    def delete_result(self, place: int) -> None:
        self.stream.results.delete(place)

    def unknown(self) -> set[str]:
        return set(self.stream.unknown)

    def add(self, *fields: bytes) -> str:
        return self.stream.add(*fields)

    def add_under(self, entry_id: str, *fields: bytes) -> str:
        return self.stream.add(*fields, under=entry_id)

    def age(self, *entry_ids: str) -> None:
        for entry_id in entry_ids:
            self._pending[entry_id].since_ms -= LEASE_MS

    def pass_time(self, milliseconds: int) -> None:
        self.clock.advance(milliseconds / 1000)

    def delete(self, entry_id: str) -> None:
        del self.stream.entries[entry_id]

    counts_added = True

    def trim_to(self, length: int) -> None:
        for entry_id in self.entries()[: len(self.stream.entries) - length]:
            self.delete(entry_id)

    def entries(self) -> list[str]:
        return list(self.stream.entries)

    def marks(self) -> set[str]:
        return set(self.stream.settled)

    def lag_behind(self, group: str, *, read: int, acked: int) -> None:
        taken = list(self.stream.entries)[:read]
        made = self.stream.make_group(group)
        made.pending = {entry_id: Pending("slow", 0, 1) for entry_id in taken[acked:]}
        made.delivered = max([(0, 0), *(id_order(entry_id) for entry_id in taken)])

    def delete_stream(self) -> None:
        self.stream.delete_orders()

    def destroy_group(self) -> None:
        self.stream.group = None

    def pending(self) -> dict[str, tuple[str, int]]:
        return {entry_id: (each.consumer, each.count) for entry_id, each in self._pending.items()}

    def set_aside(self) -> set[str]:
        return self.stream.aside

    def consumers(self) -> set[str]:
        assert self.stream.group is not None
        return self.stream.group.consumers

    def results(self) -> list[dict[str, str]]:
        return self.stream.results

    def letters(self) -> list[Mapping[str, bytes]]:
        letters = []
        for letter in self.stream.letters:
            parts = [part.encode() if isinstance(part, str) else part for part in letter]
            names = (name.decode(errors="replace") for name in parts[::2])
            letters.append(dict(zip(names, parts[1::2], strict=True)))
        return list(letters)

    @property
    def _pending(self) -> dict[str, Pending]:
        assert self.stream.group is not None
        return self.stream.group.pending


class SetClock(ServerClock):
    """A clock that the test sets."""

    def __init__(self, link: RedisLink, now_ms: Callable[[], int]) -> None:
        super().__init__(link)
        self._set = now_ms

    def now_ms(self) -> int:
        return self._set()

    def in_scripts(self) -> int | str:
        return self._set()


class RealStreams:
    """Real Redis."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._redis = deployment.redis
        self._now_ms = 1_700_000_000_000
        self._last = (0, 0)
        self.link = RedisLink(
            deployment.redis_url(), block_ms=100, client_name="contract", a_key=deployment.orders
        )

    def close(self) -> None:
        self.link.close()

    def names(self, consumer: str) -> RedisNames:
        it = self._deployment
        return RedisNames(it.orders, it.results, it.dead_letters, it.fleet.source, it.group, consumer)

    def consumer(self, name: str, *, channel: str | None = None, marks_stay_ms: int = 0) -> OrderStream:
        return OrderStream(
            self.link,
            self.names(name),
            lease_ms=LEASE_MS,
            results_channel=channel,
            marks_stay_ms=marks_stay_ms,
            clock=SetClock(self.link, lambda: self._now_ms),
        )

    def evidence(self) -> StreamEvidence:
        return StreamEvidence(self.link, self.names("looking"))

    def mending(self, name: str, *, channel: str | None = None) -> RedisMending:
        return RedisMending(
            self.link,
            self.names(name),
            lease_ms=LEASE_MS,
            results_channel=channel,
            clock=SetClock(self.link, lambda: self._now_ms),
        )

    def marks_port(self, name: str) -> RedisMarks:
        return RedisMarks(self.link, self.names(name), lease_ms=LEASE_MS)

    def lost_rows(self, name: str) -> Book:
        return LostRowsBook(self.link, self.names(name), lease_ms=LEASE_MS)

    def accept_lost_rows(self) -> None:
        names = self.names("")
        self._redis.rename(names.lost_rows, names.accepted_rows)

    def lose_marks(self) -> None:
        self._redis.delete(*self._deployment.mark_keys)

    def trim_results(self) -> None:
        self._redis.xtrim(self._deployment.results, maxlen=0, approximate=False)

    def delete_result(self, place: int) -> None:
        entry_id, _ = self._deployment.entries(self._deployment.results)[place]
        self._redis.xdel(self._deployment.results, entry_id)

    def unknown(self) -> set[str]:
        found: Any = self._redis.zrange(names_of(self._deployment, "").unknown, 0, -1)
        return {each.decode() for each in found}

    def add(self, *fields: bytes) -> str:
        # Dated by the clock of the test, as the fake does it.
        milliseconds, sequence = self._last
        later = self._now_ms > milliseconds
        self._last = (self._now_ms, 0) if later else (milliseconds, sequence + 1)
        return self.add_under(f"{self._last[0]}-{self._last[1]}", *fields)

    def add_under(self, entry_id: str, *fields: bytes) -> str:
        self._redis.execute_command(  # type: ignore[no-untyped-call]
            "XADD", self._deployment.orders, entry_id, *fields
        )
        return entry_id

    def age(self, *entry_ids: str) -> None:
        holders = self.pending()
        for entry_id in entry_ids:
            self._redis.xclaim(
                self._deployment.orders,
                self._deployment.group,
                holders[entry_id][0],
                0,
                [entry_id],
                idle=LEASE_MS + 1,
                justid=True,
            )

    def pass_time(self, milliseconds: int) -> None:
        self._now_ms += milliseconds

    def delete(self, entry_id: str) -> None:
        self._redis.xdel(self._deployment.orders, entry_id)

    @property
    def counts_added(self) -> bool:
        return counts_added(self._redis)

    def trim_to(self, length: int) -> None:
        self._redis.xtrim(self._deployment.orders, maxlen=length, approximate=False)

    def entries(self) -> list[str]:
        return [entry_id for entry_id, _ in self._deployment.entries(self._deployment.orders)]

    def marks(self) -> set[str]:
        key = self._deployment.marks
        found: Any = self._redis.zrangebyscore(key, "-inf", "(+inf")
        return {each.decode() for each in found}

    def lag_behind(self, group: str, *, read: int, acked: int) -> None:
        orders = self._deployment.orders
        self._redis.xgroup_create(orders, group, "0")
        if read:
            taken: Any = self._redis.xreadgroup(group, "slow", {orders: ">"}, count=read)
            for entry_id, _ in taken[0][1][:acked]:
                self._redis.xack(orders, group, entry_id)

    def delete_stream(self) -> None:
        self._redis.delete(self._deployment.orders)

    def destroy_group(self) -> None:
        self._redis.xgroup_destroy(self._deployment.orders, self._deployment.group)

    def pending(self) -> dict[str, tuple[str, int]]:
        found = self._redis.xpending_range(
            self._deployment.orders, self._deployment.group, min="-", max="+", count=1000
        )
        return {
            text(each["message_id"]): (text(each["consumer"]), int(each["times_delivered"])) for each in found
        }

    def set_aside(self) -> set[str]:
        return set(map(text, self._redis.zrange(names_of(self._deployment, "").set_aside, 0, -1)))

    def consumers(self) -> set[str]:
        found = self._redis.xinfo_consumers(self._deployment.orders, self._deployment.group)
        return {each["name"].decode() for each in found}

    def results(self) -> list[dict[str, str]]:
        return self._deployment.published()

    def letters(self) -> list[Mapping[str, bytes]]:
        return list(self._deployment.letters())


class Stores(Protocol):
    """The rows of one deployment."""

    def store(self, fleet: Fleet | None = None) -> Store:
        """Return the port of one replica, of the deployment's own fleet unless another is named."""

    def set_clock_back(self, seconds: float) -> None:
        """Have the tables' clock show so much less than when the rows that there are were written."""

    def note(self, fleet: Fleet) -> None:
        """Note in the book of sources where a fleet publishes."""


class FakeStores:
    """The fakes."""

    def __init__(self) -> None:
        self._table = FakeTable()

    def store(self, fleet: Fleet | None = None) -> Store:
        return FakeStore(self._table, fleet or FLEET)

    def note(self, fleet: Fleet) -> None:
        self._table.book.add(fleet)

    def set_clock_back(self, seconds: float) -> None:
        for order_id in self._table.recorded_at:
            self._table.recorded_at[order_id] += seconds


class RealStores:
    """Real PostgreSQL."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def store(self, fleet: Fleet | None = None) -> Store:
        return OrderStore(self._deployment.entered(), fleet or self._deployment.fleet)

    def note(self, fleet: Fleet) -> None:
        Sources(self._deployment.entered(), fleet).seen(f"the stream of {fleet.source}", "the results")

    def set_clock_back(self, seconds: float) -> None:
        with self._deployment.database.transaction() as connection:
            ahead = update(orders).values(recorded_at=orders.c.recorded_at + timedelta(seconds=seconds))
            connection.execute(ahead)


@pytest.fixture
def real_streams(deployment: Deployment) -> Iterator[RealStreams]:
    made = RealStreams(deployment)
    made.consumer("maker").ensure_group()
    yield made
    made.close()


@pytest.fixture(params=["fake", "real"])
def streams(request: pytest.FixtureRequest) -> Streams:
    """Streams with an empty group, once faked and once real."""
    if request.param == "real":
        made: RealStreams = request.getfixturevalue("real_streams")
        return made
    fake = FakeStreams()
    fake.consumer("maker").ensure_group()
    return fake


@pytest.fixture(params=["fake", "real"])
def stores(request: pytest.FixtureRequest) -> Stores:
    """Empty tables, once faked and once real."""
    if request.param == "real":
        return RealStores(request.getfixturevalue("deployment"))
    return FakeStores()
