"""A deployment under test: what was sent in, what stands where, the invariants that must hold at the end."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import reduce
from itertools import repeat
from pathlib import Path
from threading import Lock
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit, urlunsplit

import redis
from sqlalchemy import select

from worker import wire
from worker.consumer import Tally
from worker.domain.decimals import EXACT
from worker.domain.deliveries import Delivery
from worker.domain.fleets import Fleet, source_of
from worker.domain.orders import OrderRecord, Status, Undecodable
from worker.domain.pruning import day_of
from worker.settings import Settings, read_settings
from worker.store import Database, OrderStore, StoreEvidence
from worker.store.tables import orders
from worker.stream import RedisNames

SHORT_LEASE_MS = 1000
# What all keys have in a cluster of the tests: one slot for them all, of its first node to begin with.
HASH_TAG = "{orders}"
# Of what is to start: servers that are there may take more than a moment to answer, where much else goes on.
PATIENT_START: dict[str, Any] = {"start_timeout_s": 20}
SAMPLE_FILE = Path(__file__).parent.parent / "examples" / "orders.jsonl"


def eventually(condition: Callable[[], object], *, within: float = 20.0, every_s: float = 0.02) -> None:
    """Return once the condition holds; fail if it does not in time, which is longer on a busy machine."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if waited > within * busyness():
            name = getattr(condition, "__qualname__", condition)
            raise AssertionError(f"not within {waited:.0f} s ({within:g} s on an idle machine): {name}")
        time.sleep(every_s)


def busyness() -> float:
    """How many times longer than on an idle machine things may take now: what waits for a core, per core."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def sample_orders() -> list[dict[str, str]]:
    """The 500 real orders, as the upstream service serialises them."""
    return [json.loads(line) for line in SAMPLE_FILE.read_text(encoding="utf-8").splitlines()]


def numbered_orders(count: int) -> list[dict[str, str]]:
    """Sample orders over and over, each with an order id of its own."""
    samples = sample_orders()
    return [{**samples[i % len(samples)], "order_id": f"order-{i}"} for i in range(count)]


@dataclass(frozen=True)
class Servers:
    """Where Redis and PostgreSQL answer.

    Whether they keep what they acknowledge is the matter of whoever has given them.
    """

    redis_url: str = field(repr=False)
    database_url: str = field(repr=False)
    given: bool = False
    # By what workers find Redis, where that is not the URL of the server itself, and every server there then.
    way: str = field(default="", repr=False)
    nodes: tuple[str, ...] = field(default=(), repr=False)
    # By what workers find PostgreSQL, where that is not the URL of the server itself.
    database_way: str = field(default="", repr=False)

    @property
    def database_place(self) -> str:
        """What workers are given as DATABASE_URL, of whichever database."""
        return self.database_way or self.database_url

    @property
    def place(self) -> str:
        """What workers are given as REDIS_URL."""
        return self.way or self.redis_url

    @property
    def everywhere(self) -> tuple[str, ...]:
        """The URL of each server of Redis: each knows users of its own."""
        return self.nodes or (self.redis_url,)

    def tagged(self, name: str) -> str:
        """Return what keys of a name begin with here: in a cluster all are in one slot."""
        return f"{HASH_TAG}{name}" if "+cluster" in self.way else name


# Who enters as nobody else is named.
WORKER = "worker"


class Accounts(Protocol):
    """Users and roles of those that may do no more than they need."""

    def of(self, who: str, settings: Mapping[str, str]) -> Servers:
        """Return the servers as somebody enters them, who may use what is named in settings."""


@dataclass
class Deployment:
    """Streams and a database of one test. `accepted` is the log of every entry that Redis took.

    The tests look on as an administrator. What is tested enters by `accounts`, as an administrator without.
    """

    servers: Servers
    name: str
    database_name: str
    accepted: list[str] = field(default_factory=list, repr=False)
    accounts: Accounts | None = field(default=None, repr=False)
    # What all keys here begin with: the name, in a cluster behind the hash tag.
    prefix: str = ""

    def __post_init__(self) -> None:
        self.redis = redis.Redis.from_url(self.servers.redis_url)
        self.prefix = self.prefix or self.servers.tagged(self.name)
        self.orders = self.key("orders")
        self.results = self.key("results")
        self.dead_letters = f"{self.orders}:dead"
        self.group = "execution"
        self.database_url = self._ours(self.servers.database_url)
        self.database = _opened(self.database_url)
        self._opened = {self.database_url: self.database}
        self._opening = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.redis.close()
        for database in self._opened.values():
            database.close()

    def elsewhere(self, servers: Servers) -> "Deployment":
        """Return the same names on other servers, whatever those would be called there."""
        return Deployment(servers, self.name, self.database_name, prefix=self.prefix)

    def key(self, name: str) -> str:
        """Return another name for a key of this deployment."""
        return f"{self.prefix}:{name}"

    def all_keys(self) -> list[bytes]:
        """Every key there is of this deployment, in order."""
        return sorted(self.redis.scan_iter(match=f"{self.prefix}:*", count=1000))

    def _ours(self, url: str) -> str:
        return urlunsplit(urlsplit(url)._replace(path=f"/{self.database_name}"))

    def redis_url(self, who: str = WORKER) -> str:
        """Return where somebody enters Redis."""
        return self.environment(who)["REDIS_URL"]

    def client_url(self, who: str) -> str:
        """Return where a program that joins in enters Redis."""
        return self._entrance(who, self._streams).place

    def entered(self, who: str = WORKER) -> Database:
        """Return the database as somebody enters it, closed at the end."""
        url = self.environment(who)["DATABASE_URL"]
        with self._opening:
            if url not in self._opened:
                self._opened[url] = _opened(url)
            return self._opened[url]

    @property
    def _streams(self) -> dict[str, str]:
        return {
            "orders_stream": self.orders,
            "results_stream": self.results,
            "dead_letter_stream": self.dead_letters,
        }

    def _entrance(self, who: str, named: Mapping[str, str]) -> Servers:
        return self.servers if self.accounts is None else self.accounts.of(who, named)

    @property
    def fleet(self) -> Fleet:
        """Whose rows are written here, where no source is set."""
        return Fleet(source_of(self.orders), self.results)

    @property
    def marks(self) -> str:
        """The key of the settled marks."""
        return f"{self.results}:settled:{self.fleet.source}"

    @property
    def marks_of_before(self) -> str:
        """The key where replicas of the version before look for them; it is kept alike."""
        return f"{self.orders}:settled:{self.group}"

    @property
    def mark_keys(self) -> tuple[str, str]:
        """Both keys of the settled marks: what is lost with one alone stands in the other."""
        return self.marks, self.marks_of_before

    def environment(self, who: str = WORKER, /, **overrides: object) -> dict[str, str]:
        """The environment of a worker here, with short times; overrides are WORKER_ settings in lower case.

        A transaction may take what the lease lets it, up to five seconds: on a busy machine some take more
        than one, and a test that lets nobody take over would see an outage that nothing has made.
        """
        lease_ms = int(str(overrides.get("lease_ms", SHORT_LEASE_MS)))
        timeout_s = min(0.9 * max(lease_ms, SHORT_LEASE_MS) / 1000, 5.0)
        settings = {
            **self._streams,
            "group": self.group,
            "block_ms": 50,
            "lease_ms": lease_ms,
            "transaction_timeout_s": timeout_s,
            "execute_timeout_s": timeout_s,
            "start_timeout_s": 2,
            **({"allow_volatile": True} if self.servers.given else {}),
            **overrides,
        }
        named = {name: str(value) for name, value in settings.items()}
        entrance = self._entrance(who, named)
        return {
            "REDIS_URL": entrance.place,
            "DATABASE_URL": self._ours(entrance.database_place),
            **{f"WORKER_{name.upper()}": value for name, value in named.items()},
        }

    def settings(self, who: str = WORKER, /, **overrides: object) -> Settings:
        """The same as settings."""
        return read_settings(self.environment(who, **overrides))

    def process_environment(self, who: str = WORKER, /, **overrides: object) -> dict[str, str]:
        """The environment of a worker process: the caller's own, but without settings.

        What changes how Python behaves is left out, too.
        """
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("WORKER_", "PYTHON")) and name not in {"REDIS_URL", "DATABASE_URL"}
        }
        # Where the tests are a copy, so is the worker.
        kept |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        return kept | self.environment(who, **overrides)

    def submit(
        self,
        orders: Iterable[Mapping[str, str]],
        *,
        under: Iterable[str] = repeat("*"),
        and_set: Mapping[str, int] = MappingProxyType({}),
    ) -> list[str]:
        """Add flat entries, under these ids or Redis' own, and log them.

        Redis is configured at the same instant.
        """
        with self.redis.pipeline(transaction=True) as pipeline:
            for order, entry_id in zip(orders, under, strict=False):
                pipeline.xadd(self.orders, dict(order), id=entry_id)  # type: ignore[arg-type]
            added = len(pipeline)
            for name, value in and_set.items():
                pipeline.config_set(name, value)
            ids = [entry_id.decode() for entry_id in pipeline.execute()[:added]]
        self.accepted += ids
        return ids

    def add_raw(self, *parts: bytes | str) -> str:
        """Add one entry of any fields, repeats included."""
        added = self.redis.execute_command("XADD", self.orders, "*", *parts)  # type: ignore[no-untyped-call]
        entry_id: str = added.decode()
        self.accepted.append(entry_id)
        return entry_id

    def entries(self, stream: str) -> list[tuple[str, list[tuple[str, bytes]]]]:
        """Every entry of a stream in order, fields as pairs."""
        with redis.Redis.from_url(self.servers.redis_url) as client:
            client.response_callbacks.clear()
            raw: Sequence[Any] = client.execute_command("XRANGE", stream, "-", "+")
        return [
            (
                entry_id.decode(),
                [(name.decode(errors="replace"), value) for name, value in zip(f[::2], f[1::2], strict=True)],
            )
            for entry_id, f in raw
        ]

    def published(self) -> list[dict[str, str]]:
        """Every result, in order."""
        return [{name: value.decode() for name, value in pairs} for _, pairs in self.entries(self.results)]

    def letters(self) -> list[dict[str, bytes]]:
        """Every dead letter, in order."""
        return [dict(pairs) for _, pairs in self.entries(self.dead_letters)]

    def rows(self) -> dict[str, OrderRecord]:
        """Every row, by order id."""
        with self.database.transaction() as connection:
            ours = orders.c.source.in_(["", self.fleet.source])
            ids = list(connection.scalars(select(orders.c.entry_id).where(ours)))
        store = OrderStore(self.database, self.fleet)
        found = (store.find(ids[first : first + 1000]) for first in range(0, len(ids), 1000))
        return {record.order_id: record for chunk in found for record in chunk.values()}

    def pending(self) -> int:
        """How many entries are pending for the group."""
        if not self.redis.exists(self.orders):
            return 0
        return int(self.redis.xpending(self.orders, self.group)["pending"])

    def all_settled(self) -> bool:
        """Whether nothing is pending and everything accepted was delivered."""
        groups = self.redis.xinfo_groups(self.orders) if self.redis.exists(self.orders) else []
        delivered = [group["last-delivered-id"].decode() for group in groups]
        last = self.redis.xinfo_stream(self.orders)["last-generated-id"].decode() if groups else ""
        return delivered == [last] and self.pending() == 0


def _opened(url: str) -> Database:
    return Database(url, transaction_timeout_s=10, pool_size=2, application_name="test")


def names_of(deployment: Deployment, consumer: str) -> RedisNames:
    """The keys of a deployment, as one consumer of its group has them."""
    it = deployment
    return RedisNames(it.orders, it.results, it.dead_letters, it.fleet.source, it.group, consumer)


def take_and_vanish(deployment: Deployment, count: int, deliveries: int = 1, consumer: str = "gone") -> None:
    """A consumer takes entries, is charged, and is never seen again; its lease ran out long ago."""
    client = deployment.redis
    if not client.xinfo_groups(deployment.orders):
        client.xgroup_create(deployment.orders, deployment.group, "0")
    reply: Any = client.xreadgroup(deployment.group, consumer, {deployment.orders: ">"}, count=count)
    ids = [entry_id for entry_id, _ in reply[0][1]]
    client.xclaim(
        deployment.orders,
        deployment.group,
        consumer,
        0,
        ids,
        idle=3_600_000,
        retrycount=deliveries,
        justid=True,
    )


def assert_invariants(deployment: Deployment, *tallies: Tally) -> None:
    """Assert what must hold once the last fault has healed and everything has been worked through.

    The tallies are those of the replicas that lived to tell.
    """
    for tally in tallies:
        ended = tally.filled + tally.rejected + tally.error + tally.duplicate + tally.dead
        counted = ended + tally.answered_again + tally.handed_back + tally.in_hand
        assert tally.received == counted, f"I10: {tally}"
    rows = deployment.rows()
    results = deployment.published()
    letters = {letter["entry_id"].decode(): letter for letter in deployment.letters()}
    by_entry = {row.entry_id: row for row in rows.values()}

    assert deployment.all_settled(), "I1: something is pending or undelivered"
    assert len(letters) == len(deployment.letters()), "I2: an entry has two dead letters"
    _assert_results_are_rows(rows, _of_rows_not_pruned(deployment, by_entry, results))
    _assert_effects(rows.values())
    _assert_replays(deployment)
    _assert_every_entry_ended(deployment, by_entry, {result["entry_id"] for result in results}, set(letters))


def _of_rows_not_pruned(
    deployment: Deployment, by_entry: Mapping[str, OrderRecord], results: Sequence[dict[str, str]]
) -> list[dict[str, str]]:
    """Leave out the results of rows that were pruned, which must be as many as were counted."""
    days = StoreEvidence(deployment.database, deployment.fleet).pruned_days()
    gone = [each for each in results if each["entry_id"] not in by_entry and day_of(each["entry_id"]) in days]
    assert Counter(day_of(each["entry_id"]) for each in gone) == +Counter(days), "I4: not what was pruned"
    return [each for each in results if each not in gone] if gone else list(results)


def _assert_results_are_rows(rows: Mapping[str, OrderRecord], results: Sequence[Mapping[str, str]]) -> None:
    repeated = [order for order, n in Counter(result["order_id"] for result in results).items() if n > 1]
    assert not repeated, f"I4: several results for {repeated[:3]}"
    published = {result["order_id"]: dict(result) for result in results}
    owed = {
        order_id: _rendered(row)
        for order_id, row in rows.items()
        if row.status not in {Status.DEAD, Status.SUBMITTED}
    }
    assert published.keys() == owed.keys(), f"I4: {sorted(published.keys() ^ owed.keys())[:3]}"
    assert published == owed, "I5: a result differs from its row"


def _rendered(row: OrderRecord) -> dict[str, str]:
    fields = wire.result_fields(row)
    return dict(zip(fields[::2], fields[1::2], strict=True))


def _assert_effects(rows: Iterable[OrderRecord]) -> None:
    for row in rows:
        traded = reduce(EXACT.add, (trade.quantity for trade in row.trades), Decimal(0))
        assert traded == row.filled_quantity, (
            f"I3: trades of {row.order_id} do not sum to its filled quantity"
        )


def _assert_replays(deployment: Deployment) -> None:
    kept: Any = deployment.redis.hgetall(f"{deployment.dead_letters}:state")
    kept.pop(b"gone", None)
    states = {letter_id.decode(): json.loads(state) for letter_id, state in kept.items()}
    replays = {
        letter_id: state["replayed_as"] for letter_id, state in states.items() if "replayed_as" in state
    }
    assert len(set(replays.values())) == len(replays), "I12: one entry replays two letters"
    origins = {
        letter_id: dict(fields)["entry_id"]
        for letter_id, fields in deployment.entries(deployment.dead_letters)
    }
    carried = {
        entry_id: dict(fields)["replay_of"]
        for entry_id, fields in deployment.entries(deployment.orders)
        if "replay_of" in dict(fields)
    }
    buried = {origin for letter_id, origin in origins.items() if letter_id in replays}
    again = Counter(origin for origin in carried.values() if origin in buried)
    assert set(again.values()) <= {1}, f"I12: replayed more than once: {again.most_common(3)}"
    for letter_id, entry_id in replays.items():
        assert carried.get(entry_id, origins[letter_id]) == origins[letter_id], f"I12: {letter_id}"


def _assert_every_entry_ended(
    deployment: Deployment, by_entry: Mapping[str, OrderRecord], published: set[str], buried: set[str]
) -> None:
    decoder = wire.Decoder(
        source=deployment.fleet.source,
        source_before=source_of(deployment.orders),
        order_id_field="order_id",
        max_bytes=65536,
        max_fields=64,
    )
    orders = {row.order_id: row for row in by_entry.values()}
    assert not published & buried, "I2: an entry has a result and a dead letter"
    accepted = set(deployment.accepted)
    assert buried <= accepted, "I2: a dead letter for an entry nobody sent"
    assert by_entry.keys() <= accepted, "I3: a row for an entry nobody sent"
    for entry_id, fields in deployment.entries(deployment.orders):
        raw = tuple(part for name, value in fields for part in (name.encode(), value))
        order = decoder.decode(Delivery(entry_id, raw, 1, True))
        owner = by_entry.get(entry_id)
        if owner is not None:
            assert not isinstance(order, Undecodable), f"I2: a row for what is no order: {entry_id}"
            assert (owner.status is Status.DEAD) == (entry_id in buried), f"I2: {entry_id}"
            assert owner.fingerprint == order.fingerprint, f"I7: the row of {entry_id} is not its entry"
        elif entry_id not in buried:
            assert not isinstance(order, Undecodable), f"I1: {entry_id} is lost"
            assert order.order_id in orders, f"I1: {entry_id} is lost"
            assert orders[order.order_id].fingerprint == order.fingerprint, (
                f"I7: {entry_id} was acked as a duplicate"
            )
