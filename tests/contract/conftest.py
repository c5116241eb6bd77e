"""The two worlds of the conformance suites: real servers, and the fakes that stand in for them elsewhere."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import pytest

from tests.fakes import FakeClock, FakeOrders, FakeStore, FakeStream, FakeTable, Pending
from tests.harness import Deployment
from worker.consumer.ports import Orders, Store
from worker.store import OrderStore
from worker.stream import OrderStream, RedisLink, RedisNames
from worker.stream.connection import text

LEASE_MS = 30_000


class Streams(Protocol):
    """The streams of one deployment, as the tests arrange and look at them from outside."""

    def consumer(self, name: str, *, channel: str | None = None) -> Orders:
        """Return the port of one consumer."""

    def add(self, *fields: bytes) -> str:
        """Add an entry of these names and values."""

    def age(self, *entry_ids: str) -> None:
        """Let the leases of pending entries run out."""

    def pass_time(self, milliseconds: int) -> None:
        """Move the clock by which notes of trimmed entries are dated."""

    def delete(self, entry_id: str) -> None:
        """Trim one entry."""

    def delete_stream(self) -> None:
        """Delete the stream with its groups."""

    def destroy_group(self) -> None:
        """Destroy the group."""

    def pending(self) -> dict[str, tuple[str, int]]:
        """Return who holds which entry, and its delivery count."""

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

    def consumer(self, name: str, *, channel: str | None = None) -> Orders:
        assert channel is None, "the fake has no channels"
        return FakeOrders(self.stream, name, lease_ms=LEASE_MS)

    def add(self, *fields: bytes) -> str:
        return self.stream.add(*fields)

    def age(self, *entry_ids: str) -> None:
        for entry_id in entry_ids:
            self._pending[entry_id].since_ms -= LEASE_MS

    def pass_time(self, milliseconds: int) -> None:
        self.clock.advance(milliseconds / 1000)

    def delete(self, entry_id: str) -> None:
        del self.stream.entries[entry_id]

    def delete_stream(self) -> None:
        self.stream.entries.clear()
        self.stream.group = None

    def destroy_group(self) -> None:
        self.stream.group = None

    def pending(self) -> dict[str, tuple[str, int]]:
        return {entry_id: (each.consumer, each.count) for entry_id, each in self._pending.items()}

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


class RealStreams:
    """Real Redis."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._redis = deployment.redis
        self._now_ms = 1_700_000_000_000
        self._link = RedisLink(deployment.servers.redis_url, block_ms=100, client_name="contract")

    def close(self) -> None:
        self._link.close()

    def consumer(self, name: str, *, channel: str | None = None) -> OrderStream:
        it = self._deployment
        names = RedisNames(it.orders, it.results, it.dead_letters, it.group, name)
        return OrderStream(
            self._link, names, lease_ms=LEASE_MS, results_channel=channel, now_ms=lambda: self._now_ms
        )

    def add(self, *fields: bytes) -> str:
        return self._deployment.add_raw(*fields)

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

    def consumers(self) -> set[str]:
        found = self._redis.xinfo_consumers(self._deployment.orders, self._deployment.group)
        return {each["name"].decode() for each in found}

    def results(self) -> list[dict[str, str]]:
        return self._deployment.published()

    def letters(self) -> list[Mapping[str, bytes]]:
        return list(self._deployment.letters())


class Stores(Protocol):
    """The rows of one deployment."""

    def store(self) -> Store:
        """Return the port of one replica."""


class FakeStores:
    """The fakes."""

    def __init__(self) -> None:
        self._table = FakeTable()

    def store(self) -> Store:
        return FakeStore(self._table)


class RealStores:
    """Real PostgreSQL."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def store(self) -> Store:
        return OrderStore(self._deployment.database)


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
