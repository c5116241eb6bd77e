"""In-memory ports, faithful enough to pass the real ones' contract suite, and a clock that tests move."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import RLock

from msgspec.structs import replace

from tests.builders import decoder, filled, flat, pairs
from tests.groups import Group, Pending, id_order
from tests.logs import FakeLog
from tests.repair_fakes import FakeEvidence, FakeLostRows, FakeMarks, FakeMending, FakeRounds, FakeRows
from worker.consumer import (
    Chores,
    Drain,
    Handling,
    Intake,
    Isolation,
    Lease,
    Measures,
    Pace,
    PreparedDecoder,
    Retention,
    Settler,
    SignOfLife,
    Tally,
    Worker,
)
from worker.consumer.ports import Tracing
from worker.consumer.retention import TURN_S
from worker.domain.deliveries import (
    HEAD_BYTES,
    LOOKED_FOR,
    ClaimedPage,
    Delivery,
    Fetched,
    Outcome,
    Settlement,
    Settling,
    Withheld,
    entry_milliseconds,
    size_of,
)
from worker.domain.errors import Outage, RowRefused
from worker.domain.evidence import Marked
from worker.domain.fleets import Fleet, Foreign, Stranger
from worker.domain.orders import Execution, Order, OrderRecord, Status, Trade, UnsoundOrder
from worker.domain.retention import LettersGone, Lost, Retained
from worker.pruning import OwnTurn
from worker.repair import LostRows, Repair
from worker.repair.doubts import CLOCKS_APART_MS, Doubts
from worker.source import Registration
from worker.wire import Renderer, Spelling

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = "0-0"
FLEET = Fleet("orders", "order_results")
LOOKED_AT_PER_CLAIMED = 10
# An outage in which no clock moves would last for ever.
MOST_PINGS = 1000
OUTCOME = (
    "status", "executed_at", "filled_quantity", "average_price", "error_message", "dead_reason", "trades",
)  # fmt: skip


class FakeClock:
    """Every clock of a test: seconds that only move when the test, or a read that blocks, says so."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.seconds)

    def milliseconds(self) -> int:
        return int(self.seconds * 1000)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class Faults:
    """Outages planted at steps of a port: before the step is done, or after it, with only the reply lost."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._before: list[str] = []
        self._after: list[str] = []
        self.steps: list[str] = []
        self.on_step: Callable[[str], None] = lambda _step: None

    def plant(self, step: str, *, times: int = 1, reply_lost: bool = False) -> None:
        (self._after if reply_lost else self._before).extend([step] * times)

    @contextmanager
    def at(self, step: str) -> Iterator[None]:
        self.steps.append(step)
        self.on_step(step)
        self._strike(self._before, step, "never arrived")
        yield
        self._strike(self._after, step, "reply lost")

    def _strike(self, planted: list[str], step: str, what: str) -> None:
        if step in planted:
            planted.remove(step)
            raise Outage(self._server, f"{step}: {what}")


class FakeStream:
    """The server's side of one fleet's streams. `group` is the one people mean; others may be beside it."""

    def __init__(self, clock: FakeClock, *, counts_added: bool = True) -> None:
        self.clock = clock
        self.entries: dict[str, tuple[bytes, ...]] = {}
        self.group_name = "execution"
        self.groups: dict[str, Group] = {}
        self.noted: dict[str, dict[str, int]] = {}
        self.added = 0
        self.settled: set[str] = set()
        self.unknown: list[str] = []
        self.aside: set[str] = set()
        # By what is done: whose turn it is, and until when.
        self.turns: dict[str, tuple[str, int]] = {}
        self.repair_rounds = FakeRounds(clock)
        self.known: Marked | None = None
        self.reader = ("", 0)
        self.restored_ms: dict[str, int] = {}
        self.again: set[str] = set()
        self.repairs: dict[str, int] = {}
        self.horizon_ms = 0
        # What the horizon will be, and when that was noted.
        self.rising: tuple[int, int] | None = None
        self.marks_stay_ms = 0
        self.lost = 0
        self.results = FakeLog[dict[str, str]](clock.milliseconds, counts_added=counts_added)
        self.letters = FakeLog[tuple[str | bytes, ...]](clock.milliseconds, counts_added=counts_added)
        self.made = 0
        self._last = (0, 0)

    @property
    def group(self) -> Group | None:
        return self.groups.get(self.group_name)

    @group.setter
    def group(self, group: Group | None) -> None:
        if group is None:
            self.groups.pop(self.group_name, None)
        else:
            self.groups[self.group_name] = group

    @property
    def trimmed(self) -> dict[str, int]:
        """What was trimmed while it was pending for the group, which this outlives."""
        return self.noted_by(self.group_name)

    def noted_by(self, group: str) -> dict[str, int]:
        return self.noted.setdefault(group, {})

    def add(self, *fields: bytes, under: str | None = None) -> str:
        """Add an entry, under an id of the producer's own where that is later than all before."""
        milliseconds, sequence = self._last
        now = self.clock.milliseconds()
        self._last = (now, 0) if now > milliseconds else (milliseconds, sequence + 1)
        if under is not None and id_order(under) > (milliseconds, sequence):
            self._last = id_order(under)
        entry_id = f"{self._last[0]}-{self._last[1]}"
        self.entries[entry_id] = fields
        self.added += 1
        return entry_id

    def awaits(self, entry_id: str, group: Group | None) -> bool:
        """Whether an entry is there that a group will be given."""
        delivered = (0, 0) if group is None else group.delivered
        return entry_id in self.entries and id_order(entry_id) > delivered

    @property
    def marks(self) -> Marked:
        """What marks tell, and would tell once they are begun."""
        if self.known is not None:
            return self.known
        doubtful = self.clock.milliseconds() + CLOCKS_APART_MS
        return Marked("", doubtful if self.results.exists else 0, doubtful if self.letters.exists else 0)

    def begin_marks(self) -> Marked:
        if self.known is None:
            self.made += 1
            self.known = replace(self.marks, made=str(self.made))
        return self.known

    def lose_marks(self) -> None:
        """Lose all marks, and what they told."""
        self.settled.clear()
        self.restored_ms.clear()
        self.horizon_ms, self.rising = 0, None
        self.known = None

    def delete_orders(self) -> None:
        """Delete the orders stream, and its groups with it; ids begin anew."""
        self.entries.clear()
        self.groups.clear()
        self.added = 0
        self._last = (0, 0)

    def is_old(self, entry_id: str) -> bool:
        """Whether marks of its age have been dropped."""
        return id_order(entry_id)[0] < self.horizon_ms

    def make_group(self, name: str = "") -> Group:
        return self.groups.setdefault(name or self.group_name, Group())

    def letter(self, entry_id: str) -> dict[str, str]:
        (found,) = (letter for letter in map(pairs, self.letters) if letter["entry_id"] == entry_id)
        return found


class FakeTurn:
    """A turn of one consumer, on the clock of the stream."""

    def __init__(self, stream: FakeStream, name: str, consumer: str, *, lease_ms: int) -> None:
        self.stream = stream
        self._name = name
        self._consumer = consumer
        self._lease_ms = lease_ms

    def take(self) -> bool:
        now_ms = self.stream.clock.milliseconds()
        whose, until_ms = self.stream.turns.get(self._name, ("", 0))
        # Where the clock was set back it would last for longer.
        if whose != self._consumer and 0 < until_ms - now_ms <= self._lease_ms:
            return False
        self.stream.turns[self._name] = self._consumer, now_ms + self._lease_ms
        return True

    def end(self) -> None:
        self.stream.turns.pop(self._name, None)


class NoPruning(OwnTurn):
    """A replica that lets no rows go."""

    def __init__(self) -> None:
        """Do without all that it would need."""

    def go_on(self, *, idle_s: float = 0.0) -> None:
        """Do nothing."""


class FakeClosedLetters:
    """Dead letters of which none was closed."""

    def let_go(self, keep_ms: int) -> LettersGone:  # noqa: ARG002  there are none
        return LettersGone()


class FakeOrders:
    """One consumer's port to a FakeStream. Every read that finds nothing waits, and calls `when_idle`."""

    def __init__(
        self,
        stream: FakeStream,
        consumer: str,
        *,
        lease_ms: int,
        group: str | None = None,
        batch_bytes: int = 16 << 20,
    ) -> None:
        self.stream = stream
        self.batch_bytes = batch_bytes
        self.faults = Faults("redis")
        self.pings = self.reconnections = 0
        self.wait: Callable[[float], None] = stream.clock.advance
        self.when_idle: Callable[[], None] = lambda: None
        self.groups_lost = 0
        self._arriving: list[Delivery] = []
        self.lost_by_reads = 0
        self._made = ""
        self._consumer = consumer
        self._lease_ms = lease_ms
        self.group_name = group or stream.group_name
        self._looking = FakeTurn(stream, f"looking:{self.group_name}", consumer, lease_ms=lease_ms // 5)

    @property
    def group(self) -> Group | None:
        return self.stream.groups.get(self.group_name)

    @property
    def noted(self) -> dict[str, int]:
        return self.stream.noted_by(self.group_name)

    @property
    def consumer(self) -> str:
        return self._consumer

    @property
    def lease_ms(self) -> int:
        return self._lease_ms

    @property
    def _now_ms(self) -> int:
        return self.stream.clock.milliseconds()

    def ensure_group(self) -> None:
        with self.faults.at("ensure_group"):
            self.stream.make_group(self.group_name)

    def ping(self) -> None:
        self.pings += 1
        assert self.pings < MOST_PINGS, "the outage does not come to an end"
        with self.faults.at("ping"):
            return

    def reconnect(self) -> None:
        self.reconnections += 1

    def read(self, count: int, block_ms: int) -> list[Delivery]:
        with self.faults.at("read"):
            found = self._handed_out(count)
            if found == []:
                # Time passes even where nobody waits.
                self.wait(max(block_ms, 1) / 1000)
                self.when_idle()
            return found or []

    def read_ahead(self, count: int) -> None:
        self._arriving = []
        with self.faults.at("read_ahead"):
            self._arriving = self._handed_out(count) or []

    def arrived(self) -> list[Delivery]:
        with self.faults.at("arrived"):
            arriving, self._arriving = self._arriving, []
            return arriving

    def _handed_out(self, count: int) -> list[Delivery] | None:
        """Hand out what nobody has taken; None where the group is gone."""
        group = self.group
        if group is None:
            self._make_anew()
            return None
        self._count_lost(group)
        new = [entry_id for entry_id in self.stream.entries if id_order(entry_id) > group.delivered][:count]
        group.consumers.add(self._consumer)
        group.heard_ms[self._consumer] = self._now_ms
        if new:
            first_read = self.stream.added - len(self.stream.entries)
            group.read = (first_read if group.read is None else group.read) + len(new)
        for entry_id in new:
            group.pending[entry_id] = Pending(self._consumer, self._now_ms, 1)
            group.delivered = id_order(entry_id)
        return [Delivery(entry_id, self.stream.entries[entry_id], 1, True) for entry_id in new]

    def begin_look(self) -> bool:
        with self.faults.at("begin_look"):
            if self.group is None:
                self._make_anew()
            return self._looking.take()

    def end_look(self) -> None:
        with self.faults.at("end_look"):
            self._looking.end()

    def claim(self, cursor: str, count: int) -> ClaimedPage:
        with self.faults.at("claim"):
            group = self.group
            if group is None:
                self._make_anew()
                return ClaimedPage(START, [])
            ahead = sorted(
                (each for each in group.pending if id_order(each) >= id_order(cursor)), key=id_order
            )
            found: list[Delivery] = []
            looked_at = 0
            for entry_id in ahead:
                if len(found) == count or looked_at == count * LOOKED_AT_PER_CLAIMED:
                    break
                looked_at += 1
                pending = group.pending[entry_id]
                if self._now_ms - pending.since_ms < self._lease_ms:
                    continue
                if entry_id not in self.stream.entries:
                    self._note_trimmed(group, entry_id)
                    continue
                pending.consumer, pending.since_ms = self._consumer, self._now_ms
                found.append(Delivery(entry_id, (), pending.count, False, fetched=False))
            return ClaimedPage(ahead[looked_at] if looked_at < len(ahead) else START, found)

    def own_pending(self, count: int, *, known: Collection[str]) -> list[Delivery]:
        with self.faults.at("own_pending"):
            group = self.stream.make_group(self.group_name)
            unseen = [each for each in sorted(self._mine(group), key=id_order) if each not in known]
            return [
                Delivery(each, (), group.pending[each].count, False, fetched=False) for each in unseen[:count]
            ]

    def fetch(self, charges: Mapping[str, int | None], *, beside: int = 0) -> Fetched:
        with self.faults.at("fetch"):
            group = self.group
            if group is None:
                self._make_anew()
                return Fetched({})
            bodies, bytes_taken = dict[str, tuple[bytes, ...] | Withheld](), beside
            asked = list(charges)
            for place, entry_id in enumerate(asked):
                pending = group.pending.get(entry_id)
                if pending is None or pending.consumer != self._consumer:
                    continue
                if entry_id not in self.stream.entries:
                    self._note_trimmed(group, entry_id)
                    continue
                fields = self.stream.entries[entry_id]
                taken = min(size_of(fields), self.batch_bytes)
                if bytes_taken and bytes_taken + taken > self.batch_bytes:
                    return Fetched(bodies, frozenset(asked[place:]))
                bytes_taken += taken
                charge = charges[entry_id]
                if charge is not None:
                    pending.count, pending.since_ms = charge, self._now_ms
                bodies[entry_id] = self._body(fields)
            return Fetched(bodies)

    def _body(self, fields: tuple[bytes, ...]) -> tuple[bytes, ...] | Withheld:
        size = size_of(fields)
        if size <= self.batch_bytes:
            return fields
        return Withheld(size, len(fields) // 2, b"".join(fields)[:HEAD_BYTES])

    def trimmed(self, count: int) -> list[str]:
        with self.faults.at("trimmed"):
            before = self._now_ms - self._lease_ms
            noted = sorted((at, entry_id) for entry_id, at in self.noted.items() if at <= before)
            return [entry_id for _, entry_id in noted[:count]]

    def renew(self, entry_ids: Collection[str]) -> list[str]:
        with self.faults.at("renew"):
            return self._keep(dict.fromkeys(entry_ids), idle_ms=0)

    def charge(self, counts: Mapping[str, int]) -> list[str]:
        with self.faults.at("charge"):
            return self._keep(counts, idle_ms=0)

    def set_aside(self, entry_ids: Collection[str]) -> None:
        with self.faults.at("set aside"):
            self.stream.aside.update(entry_ids)

    def release(self, counts: Mapping[str, int]) -> None:
        with self.faults.at("release"):
            self._keep(counts, idle_ms=self._lease_ms)
        if counts:
            self.end_look()

    def settle(
        self,
        settlements: Sequence[Settlement],
        *,
        written_since_ms: int = 0,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Settling:
        with self.faults.at("settle"):
            stream, new, in_doubt, left, unknown = self.stream, 0, list[str](), list[str](), 0
            just_written = (
                None if stream.known is not None and stream.known.made == self._made else written_since_ms
            )
            for each in settlements:
                mark = each.mark or each.entry_id
                since_ms = just_written if each.stands_since_ms is None else each.stands_since_ms
                missing = mark not in stream.settled
                if each.action != "ack" and missing and self._left_to_others(each):
                    left.append(each.entry_id)
                    continue
                unknowable = each.action == "unknown" or self.nobody_can_know(each)
                if unknowable and missing and each.entry_id not in stream.unknown:
                    stream.unknown.append(each.entry_id)
                    unknown += 1
                elif not unknowable and each.action in {"publish", "bury"} and missing:
                    if self._in_doubt(each, since_ms):
                        stream.begin_marks()
                        in_doubt.append(each.entry_id)
                        continue
                    stream.begin_marks()
                    stream.settled.add(mark)
                    new += 1
                    if each.entry_id in stream.unknown:
                        stream.unknown.remove(each.entry_id)
                    if each.action == "publish":
                        stream.results.append(pairs(each.fields))
                        stream.unknown = [other for other in stream.unknown if other != each.entry_id]
                    else:
                        stream.letters.append(tuple(each.fields))
                if self.group is not None:
                    self.group.pending.pop(each.entry_id, None)
                self.noted.pop(each.entry_id, None)
            self._made = "" if stream.known is None else stream.known.made
        meanwhile()
        return Settling(new, tuple(in_doubt), tuple(left), unknown)

    def as_sent(self, settle: Callable[[], Settling]) -> Callable[[], Settling]:
        """Return a settle that knows what is known now, whenever it arrives; nobody hears a late answer."""
        made = self._made

        def arrive() -> Settling:
            now, self._made = self._made, made
            try:
                return settle()
            finally:
                if now != made:
                    self._made = now

        return arrive

    def _in_doubt(self, settlement: Settlement, since_ms: int | None) -> bool:
        if since_ms == LOOKED_FOR:
            return False
        marks = self.stream.marks
        complete_ms = marks.letters_since_ms if settlement.action == "bury" else marks.results_since_ms
        return since_ms is not None and since_ms < (complete_ms or 0)

    def retain(self, *, keep_ms: int, most_results: int, results_keep_ms: int = 0) -> Retained:
        with self.faults.at("retain"):
            stream, group = self.stream, self.group
            if group is None:
                return Retained()
            old = []
            if keep_ms:
                limit = min([(self._now_ms - keep_ms, 0), *(each.needs for each in stream.groups.values())])
                old = [entry_id for entry_id in stream.entries if id_order(entry_id) < limit]
            for entry_id in old:
                del stream.entries[entry_id]
            results = max(len(stream.results) - most_results, 0) if most_results else 0
            if results_keep_ms:
                limit = (self._now_ms - results_keep_ms, 0)
                results = min(results, sum(id_order(each) < limit for each, _ in stream.results.held()))
            stream.results.trim(results)
            return Retained(len(old), self._drop_marks(), results)

    def lost_unread(self) -> Lost | None:
        with self.faults.at("lost_unread"):
            stream, group = self.stream, self.group
            if group is None:
                return None
            self._count_lost(group)
            new, self.lost_by_reads = self.lost_by_reads, 0
            return Lost(new, stream.lost)

    def _count_lost(self, group: Group) -> None:
        stream = self.stream
        unread = sum(id_order(entry_id) > group.delivered for entry_id in stream.entries)
        place, read = stream.added - unread, group.read
        if (
            read is None
            and group.delivered == (0, 0)
            and not (stream.results or stream.letters or stream.settled)
        ):
            read = 0
        if 0 < unread < len(stream.entries) or (group.read is not None and group.read >= place):
            return
        group.read = place
        new = 0 if read is None else max(0, place - read)
        stream.lost += new
        self.lost_by_reads += new

    def remove_dead(self, idle_ms: int) -> list[str]:
        with self.faults.at("remove_dead"):
            group = self.stream.make_group(self.group_name)
            holding = {each.consumer for each in group.pending.values()} | {self._consumer}
            silent = {name for name, at in group.heard_ms.items() if self._now_ms - at >= idle_ms}
            removed = (group.consumers & silent) - holding
            group.consumers -= removed
            return sorted(removed)

    def leave(self) -> None:
        with self.faults.at("leave"):
            group = self.stream.make_group(self.group_name)
            if not self._mine(group):
                group.consumers.discard(self._consumer)

    def _make_anew(self) -> None:
        self.groups_lost += 1
        self.stream.make_group(self.group_name)

    def _mine(self, group: Group) -> list[str]:
        return [entry_id for entry_id, each in group.pending.items() if each.consumer == self._consumer]

    def _left_to_others(self, settlement: Settlement) -> bool:
        entry_id = settlement.entry_id
        if not self.stream.is_old(entry_id):
            return False
        pending = self.group.pending.get(entry_id) if self.group is not None else None
        if pending is not None:
            return pending.consumer != self._consumer
        return entry_id not in self.noted

    def nobody_can_know(self, settlement: Settlement) -> bool:
        """Whether it may have been published: it was trimmed while pending, and its mark may be dropped."""
        pending = self.group is not None and settlement.entry_id in self.group.pending
        return settlement.action == "publish" and self.stream.is_old(settlement.entry_id) and not pending

    def _drop_marks(self) -> int:
        if any(self.stream.noted.get(group) for group in self.stream.groups):
            return 0
        needed = [each.needs for each in self.stream.groups.values()]
        before = min(needed + list(map(id_order, self.stream.entries)))[0]
        self._raise_horizon(before)
        dropped = self._marks_below(min(self.stream.horizon_ms, before))
        self.stream.settled -= dropped
        return len(dropped)

    def _marks_below(self, before_ms: int) -> set[str]:
        kept_ms = self.stream.restored_ms
        return {
            each for each in self.stream.settled if kept_ms.get(each, entry_milliseconds(each)) < before_ms
        }

    def _raise_horizon(self, before_ms: int) -> None:
        """Raise it to what could not come back when that was noted, once marks have stayed long enough."""
        stream = self.stream
        if not self._marks_below(before_ms):
            return
        rising_ms, noted_ms = stream.rising or (before_ms, self._now_ms)
        noted_ms = min(noted_ms, self._now_ms)
        if rising_ms > before_ms:
            rising_ms, noted_ms = before_ms, self._now_ms
        if self._now_ms - noted_ms >= stream.marks_stay_ms:
            if self._marks_below(rising_ms):
                stream.horizon_ms = max(stream.horizon_ms, rising_ms)
            rising_ms, noted_ms = before_ms, self._now_ms
        stream.rising = rising_ms, noted_ms

    def _keep(self, counts: Mapping[str, int | None], *, idle_ms: int) -> list[str]:
        group = self.group
        if group is None:
            if counts:
                self._make_anew()
            return list(counts)
        lost = []
        for entry_id, count in counts.items():
            pending = group.pending.get(entry_id)
            if pending is not None and pending.consumer == self._consumer:
                if entry_id not in self.stream.entries:
                    del group.pending[entry_id]
                    self.noted[entry_id] = self._now_ms - idle_ms
                    continue
                pending.since_ms = self._now_ms - idle_ms
                pending.count = pending.count if count is None else count
            elif pending is not None or entry_id in self.stream.entries:
                lost.append(entry_id)
            elif entry_id in self.noted:
                self.noted[entry_id] = self._now_ms - idle_ms
        return lost

    def _note_trimmed(self, group: Group, entry_id: str) -> None:
        del group.pending[entry_id]
        self.noted.setdefault(entry_id, self._now_ms)


class FakeTable:
    """The rows of orders, shared by several fleets' stores; `book` says which source publishes where."""

    def __init__(self) -> None:
        self.rows: dict[str, OrderRecord] = {}
        self.sources: dict[str, str] = {}
        self.book: set[Fleet] = set()
        self.recorded_at: dict[str, float] = {}
        self.clock: Callable[[], float] = lambda: 0.0
        # Whether none but those in the book were ever seen.
        self.alone = True
        self.lock = RLock()

    def source_of(self, order_id: str) -> str:
        return self.sources.get(order_id, FLEET.source)

    def of_source(self, source: str) -> list[OrderRecord]:
        return [row for row in self.rows.values() if self.source_of(row.order_id) == source]

    def of_entry(self, entry_id: str, source: str = FLEET.source) -> OrderRecord | None:
        return next((row for row in self.of_source(source) if row.entry_id == entry_id), None)


class FakeStore:
    """One replica's port to a FakeTable. `refuses` names orders that a constraint of the table forbids."""

    def __init__(self, table: FakeTable, fleet: Fleet = FLEET) -> None:
        self.table = table
        self.fleet = fleet
        self.faults = Faults("postgresql")
        self.reconnections = 0
        self.refuses: Callable[[OrderRecord], bool] = lambda _record: False
        self.why = "the row breaks a constraint"

    def ping(self) -> None:
        with self.faults.at("ping"):
            return

    def reconnect(self) -> None:
        self.reconnections += 1

    def record(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        with self.faults.at("record"), self.table.lock:
            written: dict[str, OrderRecord] = {}
            owners: set[str] = set()
            for record in sorted(records, key=lambda each: each.order_id):
                if not _storable(record) or self.refuses(record):
                    raise RowRefused(self.why)
                taken = record.order_id in written or not self._free(record)
                if not taken and record.entry_id not in owners and not self.owned(record.entry_id):
                    written[record.order_id] = record
                    owners.add(record.entry_id)
            self.table.rows |= written
            self.table.recorded_at |= dict.fromkeys(written, self.table.clock())
            self.table.sources |= dict.fromkeys(written, self.fleet.source)
            return [
                record if written.get(record.order_id) is record else self._standing(record)
                for record in records
            ]

    def resolve(self, records: Sequence[OrderRecord]) -> list[OrderRecord]:
        with self.faults.at("resolve"), self.table.lock:
            written: dict[str, OrderRecord] = {}
            for record in records:
                row = self.owned(record.entry_id)
                if row is None or row.order_id != record.order_id or row.status is not Status.SUBMITTED:
                    continue
                outcome = {name: getattr(record, name) for name in OUTCOME}
                resolved = replace(row, **outcome, replay_of=None)
                if not _storable(resolved) or self.refuses(record):
                    raise RowRefused(self.why)
                written[record.order_id] = resolved
            self.table.rows |= written
            return [record if self._is_of(record, written) else self._standing(record) for record in records]

    def take_up(self, entry_id: str, *, after_s: float) -> bool:
        with self.faults.at("take_up"), self.table.lock:
            row, now = self.owned(entry_id), self.table.clock()
            if row is None or row.status is not Status.SUBMITTED:
                return False
            free = now - self.table.recorded_at[row.order_id] >= after_s
            if free or self.table.recorded_at[row.order_id] > now:
                self.table.recorded_at[row.order_id] = now
            return free

    def _is_of(self, record: OrderRecord, written: Mapping[str, OrderRecord]) -> bool:
        return record.order_id in written and written[record.order_id].entry_id == record.entry_id

    def find(self, entry_ids: Sequence[str]) -> dict[str, OrderRecord]:
        with self.faults.at("find"), self.table.lock:
            found = [row for row in self.ours if row.entry_id in entry_ids]
            return {row.entry_id: _read_back(row) for row in found}

    def alone(self) -> bool:
        with self.faults.at("alone"):
            return self.table.alone and all(each.source == self.fleet.source for each in self.table.book)

    @property
    def ours(self) -> list[OrderRecord]:
        """The rows of our own source."""
        return self.table.of_source(self.fleet.source)

    def owned(self, entry_id: str) -> OrderRecord | None:
        return next((row for row in self.ours if row.entry_id == entry_id), None)

    def _free(self, record: OrderRecord) -> bool:
        row = self.table.rows.get(record.order_id)
        replayed = row is not None and row.status is Status.DEAD and row.entry_id == record.replay_of
        return row is None or (replayed and self._stranger(row) is None)

    def _standing(self, record: OrderRecord) -> OrderRecord:
        owned, same = self.owned(record.entry_id), self.table.rows.get(record.order_id)
        told = owned is not None and owned.fingerprint and record.fingerprint
        found = owned if same is None or (owned is not None and not told) else same
        assert found is not None
        return replace(_read_back(found), stranger=self._stranger(found))

    def _stranger(self, row: OrderRecord) -> Stranger | None:
        source = self.table.source_of(row.order_id)
        if source == self.fleet.source:
            return None
        return Stranger(source, Fleet(source, self.fleet.results) in self.table.book)


class FakeExecutor:
    """Fills everything, unless a test says what becomes of an order; `executed` lists every call."""

    pure = True

    def __init__(self, execute: Callable[[Order], Execution]) -> None:
        self.execute_by_default = execute
        self.executed: list[str] = []
        self.instead: dict[str, Callable[[Order], Execution]] = {}

    def execute(self, order: Order) -> Execution:
        self.executed.append(order.order_id)
        return self.instead.get(order.order_id, self.execute_by_default)(order)


class FakeVenue(FakeExecutor):
    """An executor with effects: `book` has every order that was ever sent, `asked` every question."""

    pure = False

    def __init__(self, execute: Callable[[Order], Execution]) -> None:
        super().__init__(execute)
        self.book: dict[str, Execution] = {}
        self.asked: list[str] = []
        self.find_instead: dict[str, Callable[[str], Execution | None]] = {}

    def execute(self, order: Order) -> Execution:
        execution = super().execute(order)
        assert order.order_id not in self.book, f"{order.order_id} was sent twice"
        self.book[order.order_id] = execution
        return execution

    def find(self, order_id: str) -> Execution | None:
        self.asked.append(order_id)
        return self.find_instead.get(order_id, self.book.get)(order_id)


def _read_back(row: OrderRecord) -> OrderRecord:
    return replace(row, trades=tuple(sorted(row.trades, key=lambda trade: trade.trade_id)), replay_of=None)


def _storable(record: OrderRecord) -> bool:
    amounts = [each for each in (record.quantity, record.price) if each is not None]
    labels = (getattr(record.labels, name) for name in record.labels.__struct_fields__)
    texts = [text for text in (record.symbol, record.error_message, *labels) if text is not None]
    complete = None not in (record.symbol, record.side, record.quantity)
    return (
        all(_exact(amount) for amount in amounts)
        and not any("\0" in text for text in texts)
        and (complete or record.status in {Status.REJECTED, Status.DEAD})
        and (record.filled_quantity > 0) == (record.status is Status.FILLED)
        and (record.quantity is None or record.filled_quantity <= record.quantity)
        and (record.average_price is None or _positive(record.average_price))
        and (record.stop_loss_pct is None or Decimal(0) <= record.stop_loss_pct <= Decimal(100))
        and all(_possible(trade) for trade in record.trades)
        and len({trade.trade_id for trade in record.trades}) == len(record.trades)
    )


def _exact(amount: Decimal) -> bool:
    return _positive(amount) and amount < Decimal("1e20") and -int(amount.as_tuple().exponent) <= 30


def _positive(amount: Decimal) -> bool:
    return amount.is_finite() and amount > 0


def _possible(trade: Trade) -> bool:
    return _positive(trade.quantity) and _positive(trade.price) and trade.commission >= 0


class FakeToken:
    """What a stream is known by."""

    def __init__(self, *, known: bool = True) -> None:
        self.known = known
        self.known_by = "token-1"
        self.results_known_by = "results-1"

    def is_known(self) -> bool:
        return self.known

    def token(self) -> str:
        return self.known_by

    def results_token(self) -> str:
        return self.results_known_by


class FakeSources:
    """A book of sources. `noted` has our source's streams, `others` names the sources of other streams."""

    def __init__(self) -> None:
        self.noted: list[str] = []
        self.others: dict[str, str] = {}
        self.asked = 0

    def seen(self, token: str, results_token: str) -> str | None:
        self.asked += 1
        assert results_token, "a results stream without a token"
        if token not in self.noted and token not in self.others:
            self.noted.append(token)
        return self.others.get(token)

    def gone(self, token: str) -> None:
        # Another replica may have been first.
        self.noted = [each for each in self.noted if each != token]

    def streams(self) -> int:
        return len(self.noted)

    def rows_of_others(self, entry_ids: Collection[str]) -> Sequence[Foreign]:  # noqa: ARG002  it has none
        return []


class Bench:
    """One replica put together from the real consumer and fakes; several may share a stream and a table."""

    def __init__(
        self,
        stream: FakeStream | None = None,
        table: FakeTable | None = None,
        *,
        consumer: str = "worker-1",
        batch_size: int = 100,
        lease_ms: int = 30_000,
        block_ms: int = 2000,
        max_deliveries: int = 5,
        max_order_age_s: float = 0,
        orders_keep_s: int = 0,
        executor: FakeExecutor | None = None,
        repair_window_s: int = 900,
        lost_rows: FakeLostRows | None = None,
        batch_bytes: int = 16 << 20,
        first_count: int | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.stream = stream if stream is not None else FakeStream(FakeClock())
        self.clock = clock = self.stream.clock
        self.orders = FakeOrders(self.stream, consumer, lease_ms=lease_ms, batch_bytes=batch_bytes)
        self.store = FakeStore(table if table is not None else FakeTable())
        self.store.table.clock = clock.monotonic
        self.executor = executor if executor is not None else FakeExecutor(filled)
        self.drain, self.tally = Drain(), Tally()
        self.measures = Measures(clock.monotonic, clock.now)
        self.executing: list[str | None] = []
        self.renderer = renderer = Renderer(
            source="orders",
            consumer=consumer,
            version="test",
            copies=False,
            max_bytes=65536,
            max_fields=64,
            clock=clock.monotonic,
        )
        self.lease = Lease(self.orders, lease_ms=lease_ms, clock=clock.monotonic)
        self.pace = Pace(most=batch_size, clock=clock.monotonic, leaving=self.drain.event.is_set)
        self.intake = Intake(
            self.orders,
            self.lease,
            self.tally,
            pace=self.pace,
            batch_bytes=batch_bytes,
            block_ms=block_ms,
            first_count=batch_size if first_count is None else first_count,
            lease_ms=lease_ms,
            max_deliveries=max_deliveries,
            clock=clock.monotonic,
            pause=clock.advance,
        )
        self.handling = Handling(
            self.orders,
            self.store,
            self.executor,
            PreparedDecoder(decoder()),
            renderer,
            self.lease,
            max_deliveries=max_deliveries,
            max_order_age_s=max_order_age_s,
            execute_timeout_s=lease_ms / 3000,
            now=clock.now,
            executing=self._executing,
            pace=self.pace,
            measures=self.measures,
        )
        self.retention = Retention(
            self.orders,
            FakeClosedLetters(),
            FakeTurn(self.stream, "tidying", consumer, lease_ms=round(TURN_S * 1000)),
            orders_keep_s=orders_keep_s,
            results_maxlen=0,
            results_keep_s=0,
            letters_keep_s=0,
            lease_ms=lease_ms,
            clock=clock.monotonic,
        )
        self.mending = FakeMending(self.orders)
        evidence, rows = FakeEvidence(self.orders), FakeRows(self.store, clock)
        self.looked_through = rows
        self.marks = FakeMarks(self.orders)
        self.repair = Repair(
            evidence,
            self.mending,
            rows,
            self.stream.repair_rounds.of(consumer),
            renderer,
            consumer=consumer,
            window_s=repair_window_s,
            clock=clock.monotonic,
            now=clock.now,
            open_doubts=Doubts(
                evidence,
                self.marks,
                rows,
                Spelling("orders"),
                self.orders.settle,
                decoder(),
                clock=clock.monotonic,
            ),
            decoder=decoder(),
        )
        self.lost_rows = FakeLostRows() if lost_rows is None else lost_rows
        self.look = LostRows(
            evidence,
            rows,
            self.lost_rows.of(consumer),
            Spelling("orders"),
            decoder(),
            window_s=repair_window_s,
            clock=clock.monotonic,
        )
        self.sources = FakeSources()
        self.isolation = Isolation(
            self.orders, self.intake, self.lease, self.tally, max_deliveries=max_deliveries
        )
        self.worker = Worker(
            self.orders,
            self.store,
            self.intake,
            self.handling,
            self.isolation,
            Settler(
                self.orders,
                renderer,
                self.intake,
                self.lease,
                self.repair.doubts,
                self.isolation,
                self.tally,
                self.measures,
            ),
            self.lease,
            self.retention,
            self.repair,
            self.look,
            NoPruning(),
            Registration(
                FakeToken(),
                self.sources,
                FakeTurn(self.stream, "registering", consumer, lease_ms=5000),
                source="orders",
                fresh_s=900,
                idle_every_s=0,
                clock=clock.monotonic,
            ),
            Chores(self.tally, clock=clock.monotonic),
            self.drain,
            self.tally,
            SignOfLife(clock.monotonic),
            self.measures,
            tracing,
        )
        self.tracing = tracing
        self.stream.make_group()

    def _executing(self, order: Order | UnsoundOrder | None) -> None:
        self.executing.append(None if order is None else order.order_id)
        if self.tracing is not None:
            self.tracing.executing(order)

    @property
    def rows(self) -> dict[str, OrderRecord]:
        return self.store.table.rows

    @property
    def pending(self) -> dict[str, int]:
        """The pending entries of the whole group, and what they are charged with."""
        return (
            {}
            if self.stream.group is None
            else {entry_id: each.count for entry_id, each in self.stream.group.pending.items()}
        )

    @property
    def done(self) -> bool:
        return not self.pending

    @property
    def books_balance(self) -> bool:
        """Whether what was received is somewhere (I10)."""
        it = self.tally
        ended = it.filled + it.rejected + it.error + it.duplicate + it.dead + it.answered_again
        return it.received == ended + it.handed_back + it.in_hand

    def submit(self, *order_ids: str, **fields: str | bytes) -> list[str]:
        return [self.stream.add(*flat(order_id=order_id, **fields)) for order_id in order_ids]

    def abandon(self, entry_ids: Sequence[str], counts: Sequence[int]) -> None:
        """Have a dead consumer take these, charged with so many deliveries each; its lease has run out."""
        Bench(self.stream, consumer="dead").orders.read(len(entry_ids), 1)
        assert self.stream.group is not None
        for entry_id, count in zip(entry_ids, counts, strict=True):
            self.stream.group.pending[entry_id].count = count
        self.clock.advance(self.lease.seconds + 1)

    def handle_next(self) -> list[Outcome]:
        """Take the next group and handle it, as the loop would, but settle nothing."""
        return self.handling.handle(self.intake.take(), before_commit=self.intake.read_ahead)

    def put_down(self, entry_id: str) -> None:
        """Hold an entry no more, as after the end of a process."""
        del self.lease._held[entry_id]  # noqa: SLF001

    def run_until(self, condition: Callable[[], object]) -> None:
        """Run the loop until a read finds nothing and a condition holds; fail after an hour of the clock."""
        ends_at = self.clock.seconds + 3600

        def when_idle() -> None:
            assert self.clock.seconds < ends_at, "the loop does not come to an end"
            if condition():
                self.drain.request()

        self.orders.when_idle = when_idle
        self.worker.run()
