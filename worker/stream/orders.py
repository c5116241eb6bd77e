"""The orders stream as one consumer of its group sees it: read, claim, keep, settle, release."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import redis
import structlog
from redis.exceptions import NoScriptError

from worker.domain.deliveries import (
    BEGINNING,
    HEAD_BYTES,
    ClaimedPage,
    Delivery,
    Fetched,
    Restoration,
    Settlement,
    Settling,
    Withheld,
    following,
    size_of,
)
from worker.domain.retention import Lost, Retained
from worker.stream.arguments import in_parts
from worker.stream.clock import ServerClock
from worker.stream.link.codes import code_of
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import GroupLost, outages, text
from worker.stream.names import RedisNames
from worker.stream.scripts import source
from worker.stream.turn import Turn
from worker.stream.unpublished import Unpublished
from worker.stream.xinfo import StreamInformation

log = structlog.get_logger(__name__)

_LEAVE_COUNT = -1
_LAST_ID = "18446744073709551615-0"
# A replica asks for its turn four times a lease.
LOOKS_A_LEASE = 5
# Redis does nothing else meanwhile: a few milliseconds at the most. Above the entries of any usual stream
# node, since a node that is larger than the limit would never go.
MOST_LET_GO_AT_ONCE = 5000
# Of entries that can't come back. Whoever is at work on one that nobody knows to be in hand any more, since
# the group was lost, settles it within that time.
MARKS_STAY_MS = 600_000
# A replica tries those it has set aside more often, and notes them again.
SET_ASIDE_STANDS_MS = 60_000
# Of dead letters that are settled in one call: about five milliseconds of Redis.
MOST_BYTES_AT_ONCE = 1 << 20
# Of entries that are held at once, where nobody says otherwise.
BATCH_BYTES = 16 << 20
_pack = msgspec.msgpack.Encoder().encode
_STRING_32 = b"\xdb"


def _nothing() -> None:
    """Do nothing meanwhile."""


class OrderStream:
    """Every step is one command or one script. Raises Outage where Redis can't be used.

    A lost group is made anew. All steps but `read` are repeatable. After a failed `read` ask `own_pending`
    what arrived unseen.
    """

    def __init__(
        self,
        link: RedisLink,
        names: RedisNames,
        *,
        lease_ms: int,
        results_channel: str | None,
        unpublished: Unpublished | None = None,
        batch_bytes: int = BATCH_BYTES,
        marks_stay_ms: int = MARKS_STAY_MS,
        clock: ServerClock | None = None,
    ) -> None:
        self._link = link
        self._names = names
        self._lease_ms = lease_ms
        self._channel = results_channel or ""
        self._unpublished = unpublished or Unpublished()
        self._batch_bytes = batch_bytes
        self._marks_stay_ms = marks_stay_ms
        self._clock = clock or ServerClock(link)
        self._information = StreamInformation(link, names)
        # Ends a little before whoever has it looks again: so it may be anybody's.
        self._looking = Turn(link, names.looking, names.consumer, lease_ms=max(1, lease_ms // LOOKS_A_LEASE))
        self.marks_made = ""
        self._settle, self._claim, self._fetch, self._keep, self._leave = (
            link.script(source(name)) for name in ("settle", "claim", "fetch", "keep", "leave")
        )
        self.groups_lost = 0
        self._arriving: Callable[[], list[Any]] | None = None
        self.lost_by_reads = 0
        self._retain, self._lost, self._remove_dead, self._set_aside = (
            link.script(source(name)) for name in ("retain", "lost", "remove_dead", "set_aside")
        )

    def ensure_group(self) -> None:
        """Make the group where it is missing, at 0: at `$` it would skip the backlog."""
        names = self._names
        with outages():
            try:
                self._link.call("XGROUP", "CREATE", names.orders, names.group, BEGINNING, "MKSTREAM")
            except redis.ResponseError as error:
                if code_of(error) != "BUSYGROUP":
                    raise
            else:
                log.warning("group made", stream=names.orders, group=names.group, reads_from=BEGINNING)

    def ping(self) -> None:
        """Return when Redis answers; raises Outage otherwise."""
        self._link.ping()

    def reconnect(self) -> None:
        """Have every connection to Redis made anew before it is used again."""
        self._link.reconnect()

    def read(self, count: int, block_ms: int) -> list[Delivery]:
        """Take up to `count` entries nobody has taken, waiting up to `block_ms` for the first.

        Each is charged 1.
        """
        # 0 would be for ever, and a server that has nothing else to do takes the least wait for up to 100 ms.
        command = self._read(count, *(("BLOCK", block_ms) if block_ms else ()))
        with outages():
            reading = self._begin_read(command, blocks=block_ms > 0)
        return self._deliveries(reading)

    def read_ahead(self, count: int) -> None:
        """Ask for what `read` would take at once, and don't wait for it.

        `arrived` waits, and is to be called next.
        """
        with outages():
            self._arriving = self._begin_read(self._read(count), blocks=False)

    def arrived(self) -> list[Delivery]:
        """Return what was asked for. After an Outage ask `own_pending` what it was."""
        arriving, self._arriving = self._arriving, None
        return [] if arriving is None else self._deliveries(arriving)

    def _read(self, count: int, *block: str | int) -> tuple[str | int, ...]:
        names = self._names
        group = ("XREADGROUP", "GROUP", names.group, names.consumer)
        return (*group, "COUNT", count, *block, "STREAMS", names.orders, ">")

    def _begin_read(self, command: tuple[str | int, ...], *, blocks: bool) -> Callable[[], list[Any]]:
        # Right before: once a gap has been read past, groups of Valkey and of Redis 8 know nothing of it.
        return self._link.begin_after(self._lost, *self._losing, *command, blocks=blocks)

    @property
    def _losing(self) -> tuple[list[str], list[str | int]]:
        """The keys and arguments of the script that counts what was lost unread."""
        names = self._names
        keys = [
            names.orders,
            names.lost,
            names.results,
            names.dead_letters,
            names.settled,
            names.settled_before,
        ]
        return keys, [names.group]

    def _deliveries(self, read: Callable[[], list[Any]]) -> list[Delivery]:
        try:
            with outages():
                lost, reply = read()
            self._note_lost(lost)
        except GroupLost:
            self._make_anew()
            return []
        if not reply:
            return []
        (entries,) = reply.values()
        return [Delivery(entry_id.decode(), tuple(fields), 1, True) for entry_id, fields in entries]

    def begin_look(self) -> bool:
        """Take the turn to look for abandoned entries from the start on; False if another looked lately."""
        names = self._names
        # Before 7.2 neither an empty claim nor a read that waits in vain is hearing of a consumer, and pages
        # would call it gone. Reading its own history from an end where there is none is.
        group = ("XREADGROUP", "GROUP", names.group, names.consumer)
        self._run(self._link.call, *group, "COUNT", 1, "STREAMS", names.orders, _LAST_ID)
        return self._looking.take()

    def end_look(self) -> None:
        """Let others look now: there is more to be found than one can take."""
        self._looking.end()

    def claim(self, cursor: str, count: int) -> ClaimedPage:
        """Take one page of entries whose lease ran out, wherever they were; nothing is charged."""
        names = self._names
        reply = self._run(
            self._claim,
            [names.orders, names.trimmed],
            [names.group, names.consumer, self._lease_ms, cursor, count, self._clock.in_scripts()],
        )
        if reply is None:
            return ClaimedPage(BEGINNING, [])
        return ClaimedPage(text(reply[0]), [_to_be_fetched(*entry) for entry in reply[1]])

    def own_pending(self, count: int, *, known: Collection[str]) -> list[Delivery]:
        """Return up to `count` entries pending for this consumer and not `known`, as charged as they are."""
        names = self._names
        first: str | None = "-"
        found = list[Delivery]()
        while len(found) < count and first is not None:
            page = self._run(
                self._link.call, "XPENDING", names.orders, names.group, first, "+", count, names.consumer
            )
            if not page:
                break
            found += [_to_be_fetched(each, times) for each, _, _, times in page if text(each) not in known]
            first = following(text(page[-1][0]))
        return found[:count]

    def fetch(self, charges: Mapping[str, int | None], *, beside: int = 0) -> Fetched:
        """Return what entries of ours hold, each charged with so many before it goes out (None: as it is).

        As many as BATCH_BYTES allows, less `beside` of what is in hand already; at least one where that is
        nothing.
        """
        bodies, left = dict[str, tuple[bytes, ...] | Withheld](), set[str]()
        for part in in_parts(charges.items(), arguments_each=2):
            if left:
                # There is no room for these either.
                left.update(entry_id for entry_id, _ in part)
                continue
            found = self._fetch_part(dict(part), beside + sum(map(self._held_of, bodies.values())))
            bodies |= found.bodies
            left |= found.left
        return Fetched(bodies, frozenset(left))

    def _held_of(self, body: tuple[bytes, ...] | Withheld) -> int:
        """Return what a body counts for among a batch's bytes."""
        return self._batch_bytes if isinstance(body, Withheld) else size_of(body)

    def _fetch_part(self, charges: Mapping[str, int | None], beside: int) -> Fetched:
        names, pairs = self._names, list[str | int]()
        for entry_id, count in charges.items():
            pairs += (entry_id, _LEAVE_COUNT if count is None else count)
        limits = [self._batch_bytes, beside, HEAD_BYTES]
        reply = self._run(
            self._fetch,
            [names.orders, names.trimmed],
            [names.group, names.consumer, self._clock.in_scripts(), *limits, *pairs],
        )
        if reply is None:
            return Fetched({})
        found, left = reply
        return Fetched({text(each[0]): _body(*each[1:]) for each in found}, frozenset(map(text, left)))

    def trimmed(self, count: int) -> list[str]:
        """Return entries trimmed while pending longer than a lease ago, so that no owner is at work."""
        with outages():
            reply = self._link.call(
                "ZRANGE",
                self._names.trimmed,
                "-inf",
                self._clock.now_ms() - self._lease_ms,
                "BYSCORE",
                "LIMIT",
                0,
                count,
            )
        return [text(entry_id) for entry_id in reply]

    def renew(self, entry_ids: Collection[str]) -> list[str]:
        """Restart the lease of entries in hand; return those that are lost to somebody else."""
        return self._keep_ours(0, dict.fromkeys(entry_ids, _LEAVE_COUNT))

    def charge(self, counts: Mapping[str, int]) -> list[str]:
        """Set what each entry is charged with, restart its lease; return those lost to somebody else."""
        return self._keep_ours(0, counts)

    def set_aside(self, entry_ids: Collection[str]) -> None:
        """Note, for people, that these can be neither settled nor buried now.

        A note stands for SET_ASIDE_STANDS_MS.
        """
        with outages():
            for part in in_parts(entry_ids):
                self._set_aside([self._names.set_aside], [SET_ASIDE_STANDS_MS, *part])

    def release(self, counts: Mapping[str, int]) -> None:
        """Hand entries back: anybody may claim them at once, at these counts."""
        self._keep_ours(self._lease_ms, counts)
        if counts:
            self.end_look()

    def _keep_ours(self, idle_ms: int, counts: Mapping[str, int]) -> list[str]:
        lost = list[str]()
        for part in in_parts(counts.items(), arguments_each=2):
            lost += self._keep_part(idle_ms, dict(part))
        return lost

    def _keep_part(self, idle_ms: int, counts: Mapping[str, int]) -> list[str]:
        names = self._names
        pairs = [part for pair in counts.items() for part in pair]
        lost = self._run(
            self._keep,
            [names.orders, names.trimmed],
            [names.group, names.consumer, idle_ms, self._clock.in_scripts(), *pairs],
        )
        return list(counts) if lost is None else [text(entry_id) for entry_id in lost]

    def settle(
        self,
        settlements: Sequence[Settlement],
        *,
        written_since_ms: int = 0,
        meanwhile: Callable[[], None] = _nothing,
    ) -> Settling:
        """Publish or bury each that is not settled yet, and ack it, in one step.

        Nothing is done about what is in doubt or left to others. The rows that were written just now stand
        since `written_since_ms`. `meanwhile` is called while Redis is at it. Large dead letters are settled
        in several calls, so that nobody else has to wait for all of them.
        """
        new, in_doubt, left, unknown = 0, list[str](), list[str](), 0
        # The same for all parts: marks that the first one makes tell nothing of rows that were written
        # before.
        remembered = self.marks_made
        for part in slices(settlements):
            settling = self._settle_slice(part, written_since_ms, remembered, meanwhile)
            meanwhile = _nothing
            new, unknown = new + settling.new, unknown + settling.unknown
            in_doubt += settling.in_doubt
            left += settling.left
        return Settling(new, tuple(in_doubt), tuple(left), unknown)

    def _settle_slice(
        self,
        settlements: Sequence[Settlement],
        written_since_ms: int,
        remembered: str,
        meanwhile: Callable[[], None],
    ) -> Settling:
        names = self._names
        keys = [names.orders, names.results, names.dead_letters, names.settled, names.trimmed]
        keys += [names.settled_before, names.unknown]
        with outages():
            settled = self._settle.begin(
                keys,
                [
                    names.group,
                    names.consumer,
                    self._channel,
                    written_since_ms,
                    remembered,
                    packed(settlements),
                ],
            )
            try:
                meanwhile()
            finally:
                published, buried, in_doubt, left, made, unknown, unpublished, why = settled()
        self.marks_made = text(made)
        self._unpublished.note(unpublished, why, self._channel)
        new = int(published) + int(buried)
        return Settling(new, tuple(map(text, in_doubt)), tuple(map(text, left)), int(unknown))

    def leave(self) -> None:
        """Remove this consumer, unless something is still pending for it."""
        self._run(self._leave, [self._names.orders], [self._names.group, self._names.consumer])

    def retain(self, *, keep_ms: int, most_results: int, results_keep_ms: int = 0) -> Retained:
        """Trim orders older than `keep_ms` that every group acked, results beyond `most_results`, and marks.

        0 keeps all orders, or all results; no result goes that is younger than `results_keep_ms`. Marks of
        entries that can't come back go in either case, after a while. What any group has pending or has not
        read stays, however old, and so do all marks while any group has yet to ask the inbox about an entry
        that was trimmed. Without our group nothing is touched.
        """
        names = self._names
        keep_from = f"{max(self._clock.now_ms() - keep_ms, 0)}-0" if keep_ms else ""
        keys = [names.orders, names.settled, names.results, names.dead_letters, names.settled_before]
        limits: list[str | int] = [keep_from, most_results, MOST_LET_GO_AT_ONCE, self._marks_stay_ms]
        with outages():
            # A group that is made after this has nothing noted yet.
            groups = {names.group, *(each.name for each in self._information.groups())}
            orders, marks, results, more = self._retain(
                keys + [names.trimmed_of(group) for group in groups],
                [names.group, *limits, self._clock.in_scripts(), results_keep_ms],
            )
        return Retained(int(orders), int(marks), int(results), bool(more))

    def lost_unread(self) -> Lost | None:
        """Count entries that were trimmed before the group read them, each once over all replicas.

        None where the server can't tell (before 7.0). Those that were found by the reads since the last call
        are among the new ones: each read counts first, so that no gap is read past uncounted.
        """
        with outages():
            found = self._lost(*self._losing)
        if found is None:
            return None
        before, self.lost_by_reads = self.lost_by_reads, 0
        return Lost(int(found[0]) + before, int(found[1]))

    def _note_lost(self, found: Any) -> None:  # noqa: ANN401  replies are untyped
        if isinstance(found, NoScriptError):
            # After a restart or a failover; it is loaded by being called.
            with outages():
                found = self._lost(*self._losing)
        if isinstance(found, list):
            self.lost_by_reads += int(found[0])

    def remove_dead(self, idle_ms: int) -> list[str]:
        """Remove other consumers that hold nothing and were idle for so long; return their names."""
        removed = self._run(
            self._remove_dead, [self._names.orders], [self._names.group, self._names.consumer, idle_ms]
        )
        return [text(name) for name in removed or ()]

    def _run(self, act: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401  replies are untyped
        """Return what a script or command replies; None where the group was gone, which is made anew then."""
        try:
            with outages():
                return act(*args)
        except GroupLost:
            self._make_anew()
            return None

    def _make_anew(self) -> None:
        self.groups_lost += 1
        self.ensure_group()


def slices(settlements: Sequence[Settlement]) -> Iterator[Sequence[Settlement]]:
    """Yield settlements in parts whose letters take no more than MOST_BYTES_AT_ONCE.

    One letter alone may take more. There is at least one part.
    """
    first = size = 0
    for place, each in enumerate(settlements):
        # Results are small.
        if each.action != "bury":
            continue
        letter = sum(map(len, each.fields))
        if size and size + letter > MOST_BYTES_AT_ONCE:
            yield settlements[first:place]
            first, size = place, 0
        size += letter
    yield settlements[first:]


def packed(given: Sequence[Settlement] | Sequence[Restoration]) -> bytes:
    """Return settlements, or restorations, as the scripts read them."""
    return _pack([_packable(each) for each in given])


def _packable(given: Settlement | Restoration) -> tuple[object, ...]:
    fields: Sequence[str | bytes | msgspec.Raw] = given.fields
    # A result is text; a letter keeps the bytes that came.
    if given.action == "bury":
        # Lua's msgpack has no binary type; its strings hold any bytes.
        fields = [
            msgspec.Raw(_STRING_32 + len(part).to_bytes(4, "big") + part) if isinstance(part, bytes) else part
            for part in given.fields
        ]
    stands_since_ms, mark = given.stands_since_ms, given.mark
    if isinstance(given, Settlement) and stands_since_ms is None and not mark:
        return given.entry_id, given.action, fields, given.copy
    # For Lua, whose lists have no holes.
    since = False if stands_since_ms is None else stands_since_ms
    whole = (given.entry_id, given.action, fields, given.copy, since, mark)
    return whole if isinstance(given, Settlement) else (*whole, given.again)


def _to_be_fetched(entry_id: bytes, count: int) -> Delivery:
    return Delivery(text(entry_id), (), int(count), charged=False, fetched=False)


def _body(fields: list[Any], size: int | None = None) -> tuple[bytes, ...] | Withheld:
    if size is None:
        return tuple(fields)
    parts, head = fields
    return Withheld(int(size), int(parts) // 2, head)
