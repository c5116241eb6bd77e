"""The end of the results and dead letters, read once for all who wait in one process."""

import time
from collections import Counter, OrderedDict
from functools import partial

import redis

from worker.client.errors import named_error
from worker.client.link import (
    Reply,
    Steps,
    Wait,
    asked,
    block,
    by_stream,
    may_be_repeated,
    named,
    pause_s,
    waited_for,
)
from worker.client.order import Added
from worker.client.outcome import Letter, OrderResult, Outcome, read_letter, result_or_none

PAGE = 1000
SHORTEST_BLOCK_S = 0.001
REMEMBERED = 10_000
# How soon the worker is asked again what it has made of an entry whose order has an outcome.
ASK_AGAIN_S = 0.05
# When it is asked for the first time where nothing is known; then after twice as long, and so on.
FIRST_ASK_S = 0.5
_OUR_ENTRY = "entry "
_CONFLICT = "conflict"


class Tail:
    """What was published since some id, as far as it was read; it remembers the last 10,000 outcomes."""

    def __init__(self, results: str, dead_letters: str, since: str) -> None:
        self._results = results
        self._positions = {results: since, dead_letters: since}
        self._outcomes: OrderedDict[str, tuple[str, Outcome]] = OrderedDict()
        self.since = since
        self._awaited = Counter[str]()
        self.is_being_read = False
        self.is_at_end = False
        self._failures = 0
        self.failed: Exception | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits for what it comes to."""
        return bool(self._awaited)

    def awaits(self, added: Added) -> None:
        """Keep what becomes of an order until it is let go."""
        self._awaited.update(_keys(added))

    def lets_go(self, added: Added) -> None:
        """Keep what became of an order no longer than others."""
        for key in _keys(added):
            self._awaited[key] -= 1
            if not self._awaited[key]:
                del self._awaited[key]

    def covers(self, since: str) -> bool:
        """Whether all that was published since is here, or is still to be read."""
        return _order(self.since) <= _order(since)

    def is_behind(self, since: str) -> bool:
        """Whether it would have to read what nobody asks for before it comes to what was published since."""
        return _order(self._positions[self._results]) < _order(since)

    def read_on(self, block_s: float) -> Steps[None]:
        """Take in what comes next, waiting so long for it; in an outage, wait for a little."""
        streams = ("STREAMS", *self._positions, *self._positions.values())
        try:
            reply = yield from waited_for(("XREAD", "COUNT", PAGE, *block(block_s), *streams), block_s)
        except redis.RedisError as error:
            if not may_be_repeated(error):
                raise
            self._failures, self.failed = self._failures + 1, error
            yield Wait(min(pause_s(self._failures), block_s))
        else:
            self._failures, self.failed = 0, None
            self.is_at_end = all(len(entries) < PAGE for _, entries in by_stream(reply))
            self._file(reply)

    def _file(self, reply: Reply) -> None:
        for stream, entries in by_stream(reply):
            for raw_id, fields in entries:
                self._positions[stream] = raw_id.decode()
                if stream == self._results:
                    self._file_result(raw_id.decode(), fields)
                else:
                    self._file_letter(raw_id.decode(), read_letter(fields))

    def outcome_of(self, added: Added) -> Outcome | None:
        """Return the result of an order if it is known, else its letter: of this entry, or of another."""
        ours, outcome = map(self._known, _keys(added))
        buries = isinstance(ours, Letter) and (
            ours.reason == _CONFLICT or not isinstance(outcome, OrderResult)
        )
        return ours if buries else outcome

    def _known(self, key: str) -> Outcome | None:
        return self._outcomes.get(key, ("", None))[1]

    def _file_result(self, place: str, fields: list[Reply]) -> None:
        result = result_or_none(fields)
        if result is not None:
            self._keep(place, result.order_id, result)

    def _file_letter(self, place: str, letter: Letter) -> None:
        self._keep(place, f"{_OUR_ENTRY}{letter.entry_id}", letter)
        # A conflict buries an entry that came later, and says nothing about the order that it conflicts with.
        # Whoever has a result was replayed after its letter.
        known = self._known(letter.order_id)
        if letter.order_id and letter.reason != _CONFLICT and not isinstance(known, OrderResult):
            self._keep(place, letter.order_id, letter)

    def _keep(self, place: str, key: str, outcome: Outcome) -> None:
        self._outcomes[key] = (place, outcome)
        while len(self._outcomes) > REMEMBERED + len(self._awaited):
            oldest, (gone, known) = self._outcomes.popitem(last=False)
            if oldest in self._awaited:
                # Whoever waits for it may not have run since it was read.
                self._outcomes[oldest] = (gone, known)
            else:
                self.since = max(self.since, gone, key=_order)


class Waiting:
    """One who waits for an order's outcome: until when, and when the worker's group is asked about it."""

    def __init__(self, added: Added, timeout_s: float) -> None:
        self._added = added
        self._timeout_s = timeout_s
        self._ask_s = min(FIRST_ASK_S, timeout_s / 2)
        now = time.monotonic()
        self.deadline = now + timeout_s
        self._ask_at = now + self._ask_s
        self.refused: Exception | None = None

    @property
    def is_over(self) -> bool:
        """Whether the time to wait is over."""
        return time.monotonic() >= self.deadline

    def asks(self, known: Outcome | None) -> bool:
        """Whether the group is to be asked now.

        An outcome of another entry is none of this one before the worker has settled it. Where none is known
        for a while, the entry may be a duplicate of an order whose outcome stands further back.
        """
        if known is not None:
            return known.entry_id != self._added.entry_id
        if time.monotonic() < self._ask_at or self.is_over:
            return False
        self._ask_s *= 2
        self._ask_at = time.monotonic() + self._ask_s
        return True

    def wait_s(self, known: Outcome | None) -> float:
        """Return for how long to wait at the most; nothing or less once it is too late."""
        now = time.monotonic()
        left = self.deadline - now
        return min(left, ASK_AGAIN_S if known is not None else max(self._ask_at - now, 0.0))

    def too_late(self, tail: Tail) -> TimeoutError:
        """Return what is to be raised where an order has no outcome in time."""
        error = tail.failed or self.refused
        why = f": {named_error(error)}" if error else ""
        return TimeoutError(f"order {self._added.order_id} has no result after {self._timeout_s:g} s{why}")


class Tails:
    """Gives each who waits the tail that all share, or one of its own where it looks further back."""

    def __init__(self, results: str, dead_letters: str, orders: str, group: str) -> None:
        self._make = partial(Tail, results, dead_letters)
        self._results = results
        self._dead_letters = dead_letters
        self._orders = orders
        self._group = group
        self._shared: Tail | None = None

    def join(self, added: Added) -> Tail:
        """Return the tail in which to wait for an order, which is to be let go there afterwards."""
        since, shared = added.since, self._shared
        if shared is None or (
            not shared.is_awaited and (shared.is_behind(since) or not shared.covers(since))
        ):
            shared = self._shared = self._make(since)
        tail = shared if shared.covers(since) else self._make(since)
        tail.awaits(added)
        return tail

    def confirmed(self, added: Added, waiting: Waiting) -> Steps[Outcome | None]:
        """Return what answers for an entry that the worker has settled; None while that is not known.

        The worker publishes a result or a letter in one step with acking its entry: once that is settled, its
        own outcome stands there or never will. Where it has none, it is a duplicate, and that of another
        entry answers for it, which may be older than this one.
        """
        try:
            if not (yield from self._is_settled(added.entry_id)):
                return None
            tail = self._make(added.since)
            tail.awaits(added)
            yield from tail.read_on(SHORTEST_BLOCK_S)
            while not tail.is_at_end:
                if waiting.is_over:
                    return None
                yield from tail.read_on(SHORTEST_BLOCK_S)
            found = tail.outcome_of(added) or (yield from self._further_back(added, waiting))
        except redis.RedisError as error:
            # The server may be away, know no such group, or refuse to be asked: the result may come though.
            waiting.refused = error
            return None
        waiting.refused = None
        return found

    def _is_settled(self, entry_id: str) -> Steps[bool]:
        groups, pending = yield from asked(
            ("XINFO", "GROUPS", self._orders),
            ("XPENDING", self._orders, self._group, entry_id, entry_id, 1),
        )
        delivered = {each["name"]: each["last-delivered-id"] for each in map(named, groups)}
        return not pending and _order(entry_id) <= _order(delivered[self._group.encode()].decode())

    def _further_back(self, added: Added, waiting: Waiting) -> Steps[Outcome | None]:
        for stream in (self._results, self._dead_letters):
            last, read = added.since, True
            while read and not waiting.is_over:
                (entries,) = yield from asked(("XREVRANGE", stream, last, "-", "COUNT", PAGE))
                for entry_id, fields in entries:
                    found = self._answer(stream, added.order_id, fields)
                    if found is not None:
                        return found
                    last = f"({entry_id.decode()}"
                read = bool(entries)
        return None

    def _answer(self, stream: str, order_id: str, fields: list[Reply]) -> Outcome | None:
        if order_id.encode() not in fields:
            return None
        if stream == self._results:
            result = result_or_none(fields)
            return result if result is not None and result.order_id == order_id else None
        letter = read_letter(fields)
        return letter if letter.order_id == order_id and letter.reason != _CONFLICT else None


def _keys(added: Added) -> tuple[str, str]:
    return f"{_OUR_ENTRY}{added.entry_id}", added.order_id


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)
