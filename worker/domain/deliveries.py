"""Deliveries, what is to be done with each, and how it is settled on the stream."""

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Literal, TypeAlias

from msgspec import Struct

from worker.domain.orders import DeadReason, OrderRecord

# Of an entry that is too large, how much is kept.
HEAD_BYTES = 1024
# What is no larger than this is never withheld: the least that WORKER_BATCH_BYTES may be.
NEVER_WITHHELD_BYTES = 65_536


class Withheld(Struct, frozen=True):
    """What is known of an entry too large to fetch: how many bytes in how many fields, and the first ones."""

    size: int
    fields: int
    head: bytes


# The most that MAX_DELIVERIES may be: no charge of the worker's goes beyond.
MOST_DELIVERIES = 1000
# So often a delivery has to end without an outcome before its entry is poison.
LEAST_DEATHS = 3


class Delivery(Struct, frozen=True):
    """One handing-over of an entry.

    `fields` alternates names and values as the stream holds them, repeats kept; it is empty where the entry
    was trimmed while it was pending, was not `fetched` yet, or is `withheld`. `count` is how many executions
    the entry has been charged with; while `charged` is false the coming one is not among them. `failure` is
    the unexpected error in which the last one ended, where this process has seen it. `hold` tells it from
    other deliveries of the entry to this process: it may have lost the entry to others, and have got it back
    since.
    """

    entry_id: str
    fields: tuple[bytes, ...]
    count: int
    charged: bool
    failure: str = ""
    hold: int = 0
    fetched: bool = True
    withheld: Withheld | None = None

    @property
    def trimmed(self) -> bool:
        """Whether nobody can say any more what it held."""
        return self.fetched and not self.fields and self.withheld is None

    @property
    def count_before(self) -> int:
        """The charges of earlier deliveries, that is, without this one."""
        return self.count - 1 if self.charged else self.count


class Fetched(Struct, frozen=True):
    """What entries to be fetched hold, by id, and which were left since the others are enough at once.

    What is in neither is somebody else's by now, or was trimmed.
    """

    bodies: Mapping[str, tuple[bytes, ...] | Withheld]
    left: frozenset[str] = frozenset()


class ClaimedPage(Struct, frozen=True):
    """One page of abandoned entries, and where the next one begins (`0-0`: nowhere)."""

    cursor: str
    deliveries: Sequence[Delivery]


class Settled(Struct, frozen=True):
    """The row is committed: publish its result, and ack. `answered` when an earlier delivery wrote it."""

    delivery: Delivery
    record: OrderRecord
    answered: bool


class Duplicate(Struct, frozen=True):
    """The same order came before in another entry: ack only."""

    delivery: Delivery
    order_id: str


class Dead(Struct, frozen=True):
    """No result will ever come of it: bury, and ack. By count only after its row says DEAD, which it owns."""

    delivery: Delivery
    reason: DeadReason | str
    error: str
    order_id: str | None
    owns_row: bool = False


class Retry(Struct, frozen=True):
    """The executor raised, or it is not our turn: again later, alone, and not before `after_s` seconds."""

    delivery: Delivery
    error: str
    after_s: float = 0.0


class Left(Struct, frozen=True):
    """It was not begun: the group had its time, or its bytes, or somebody asked to leave.

    It stays in hand, or is released.
    """

    delivery: Delivery


Outcome: TypeAlias = Settled | Duplicate | Dead | Retry | Left


class Settlement(Struct, frozen=True):
    """One entry's part of a settle: publish or bury these fields unless the entry is settled already; ack.

    `unknown` is acked, and noted as one of which nobody can know whether its result was published.
    `stands_since_ms` is the unix time before which nothing can have been given out for it; None: its row was
    written by this process just now; LOOKED_FOR: it was looked for and never given out. `mark` is what it is
    marked as where that is not its entry id.
    """

    entry_id: str
    action: Literal["publish", "bury", "ack", "unknown"]
    fields: Sequence[str | bytes] = ()
    copy: str = ""
    stands_since_ms: int | None = None
    mark: str = ""


LOOKED_FOR = -1


class Restoration(Struct, frozen=True):
    """What a repair gives back of one entry: its result, its dead letter, or its mark alone. It acks nothing.

    It is given back unless it counts as settled, or `again`: though it does. The rest is as in a settlement.
    """

    entry_id: str
    action: Literal["publish", "bury", "mark"]
    fields: Sequence[str | bytes] = ()
    copy: str = ""
    stands_since_ms: int | None = None
    mark: str = ""
    again: bool = False


class Settling(Struct, frozen=True):
    """What a settle did: how many were not settled before, which are in doubt, and which are left to others.

    What is in doubt has no mark, and marks of its time are not complete: Redis has lost what it knew. What is
    left has none since its mark may have been dropped, and is not in our hands any more: this process slept
    meanwhile. Nothing was done about either.
    """

    new: int = 0
    in_doubt: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    unknown: int = 0


def mark_of_content(delivery: Delivery) -> str:
    """Return what an entry is marked as that owns no row; empty where nobody knows what it held.

    A row answers for one entry of its id alone. Without one another entry may have had the id before, or get
    it, after somebody deleted the stream: a mark by the id alone would swallow the one that comes later. Of
    what may be withheld only the size and the first bytes count, since no more of it may have been fetched.
    """
    if delivery.withheld is None:
        size, fields, head = size_of(delivery.fields), len(delivery.fields) // 2, b"".join(delivery.fields)
    else:
        size, fields, head = delivery.withheld.size, delivery.withheld.fields, delivery.withheld.head
    if not fields:
        return ""
    known = head if size <= NEVER_WITHHELD_BYTES else head[:HEAD_BYTES]
    content = b"%d %d %b" % (size, fields, known)
    return f"{delivery.entry_id}:{blake2b(content, digest_size=8).hexdigest()}"


def size_of(fields: Sequence[bytes]) -> int:
    """Return how many bytes the names and values of an entry take."""
    return sum(map(len, fields))


# How many entries are read before anything is known of their size.
FIRST_COUNT = 16


def next_count(count: int, sizes: Iterable[int], *, most: int, most_bytes: int) -> int:
    """Return how many entries to ask for after `count`, of which some came, so large.

    As many as would take `most_bytes` if all were as large as the largest of those: fewer at once, and more
    by a quarter each time. Only a wall of large entries behind small ones is met at the count that these
    allowed.
    """
    largest = max(sizes, default=0)
    if not largest:
        return count
    return min(max(1, most_bytes // largest), count + count // 4 + 1, most)


# The id before any other: where an empty stream begins and ends.
BEGINNING = "0-0"
# Each part of an id has 64 bits.
LATEST_PART = 2**64 - 1


_ENTRY_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})", re.ASCII)


def is_entry_id(name: str) -> bool:
    """Whether a stream can have given it. A row that somebody has put into the table may hold anything."""
    parts = _ENTRY_ID.fullmatch(name)
    return parts is not None and max(map(int, parts.groups())) <= LATEST_PART


def spelled(entry_id: str) -> str:
    """Return an id in the one spelling that streams give it: without zeros before its numbers."""
    milliseconds, sequence = entry_order(entry_id)
    return f"{milliseconds}-{sequence}"


def entry_milliseconds(entry_id: str) -> int:
    """Return when Redis accepted the entry, in unix milliseconds, as its id says."""
    return int(entry_id.partition("-")[0])


def following(entry_id: str) -> str | None:
    """Return the first id that may come after one; None after the last, which no range can begin behind."""
    milliseconds, sequence = entry_order(entry_id)
    if sequence < LATEST_PART:
        return f"{milliseconds}-{sequence + 1}"
    return f"{milliseconds + 1}-0" if milliseconds < LATEST_PART else None


def entry_order(entry_id: str) -> tuple[int, int]:
    """Return what sorts ids as a stream does."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence)
