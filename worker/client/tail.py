"""The end of the results and dead letters, read once for all who wait in one process."""

from collections import Counter, OrderedDict
from functools import partial

import redis

from worker.client.errors import Buried
from worker.client.link import Command, Reply, Steps, Wait, asked, by_stream, may_be_repeated, named, pause_s
from worker.client.order import Added
from worker.client.outcome import Letter, OrderResult, read_letter, read_result

PAGE = 1000
SHORTEST_BLOCK_S = 0.001
REMEMBERED = 10_000
_OUR_ENTRY = "entry "
_CONFLICT = "conflict"


class Tail:
    """What was published since some id, as far as it was read; it remembers the last 10,000 outcomes."""

    def __init__(self, results: str, dead_letters: str, since: str) -> None:
        self._results = results
        self._positions = {results: since, dead_letters: since}
        self._outcomes: OrderedDict[str, tuple[str, OrderResult | Letter]] = OrderedDict()
        self.since = since
        self._awaited = Counter[str]()
        self.is_being_read = False
        self.is_at_end = False
        self._failures = 0
        self._failed: Exception | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits for what it comes to."""
        return bool(self._awaited)

    def awaits(self, added: Added) -> None:
        """Keep what becomes of an order until it is let go."""
        self._awaited.update(_keys(added))

    def lets_go(self, added: Added) -> None:
        """Keep what became of an order no longer than others."""
        self._awaited -= Counter(_keys(added))

    def covers(self, since: str) -> bool:
        """Whether all that was published since is here, or is still to be read."""
        return _order(self.since) <= _order(since)

    def is_behind(self, since: str) -> bool:
        """Whether it would have to read what nobody asks for before it comes to what was published since."""
        return _order(self._positions[self._results]) < _order(since)

    def read_on(self, block_s: float) -> Steps[None]:
        """Take in what comes next, waiting so long for it; in an outage, wait for a little."""
        block = ("BLOCK", max(1, int(block_s * 1000)))
        read: Command = (
            "XREAD",
            "COUNT",
            PAGE,
            *block,
            "STREAMS",
            *self._positions,
            *self._positions.values(),
        )
        try:
            (reply,) = yield from asked(read)
        except redis.RedisError as error:
            if not may_be_repeated(error):
                raise
            self._failures, self._failed = self._failures + 1, error
            yield Wait(min(pause_s(self._failures), block_s))
        else:
            self._failures, self._failed = 0, None
            self.is_at_end = all(len(entries) < PAGE for _, entries in by_stream(reply))
            self._file(reply)

    def too_late(self, added: Added, timeout_s: float) -> TimeoutError:
        """Return what is to be raised where an order has no outcome in time."""
        why = f": {self._failed}" if self._failed else ""
        return TimeoutError(f"order {added.order_id} has no result after {timeout_s:g} s{why}")

    def _file(self, reply: Reply) -> None:
        for stream, entries in by_stream(reply):
            for raw_id, fields in entries:
                self._positions[stream] = raw_id.decode()
                if stream == self._results:
                    self._file_result(raw_id.decode(), fields)
                else:
                    self._file_letter(raw_id.decode(), read_letter(fields))

    def outcome_of(self, added: Added) -> OrderResult | None:
        """Return the result of an order if it is known. Raises Buried where only its dead letter is."""
        ours, outcome = map(self._known, _keys(added))
        if isinstance(ours, Letter) and (ours.reason == _CONFLICT or outcome is None):
            outcome = ours
        if isinstance(outcome, Letter):
            raise Buried(added.order_id, outcome.entry_id, outcome.reason, outcome.error)
        return outcome

    def _known(self, key: str) -> OrderResult | Letter | None:
        return self._outcomes.get(key, ("", None))[1]

    def _file_result(self, place: str, fields: list[Reply]) -> None:
        try:
            result = read_result(fields)
        except (ValueError, KeyError, ArithmeticError):
            return  # It is nobody's result.
        self._keep(place, result.order_id, result)

    def _file_letter(self, place: str, letter: Letter) -> None:
        self._keep(place, f"{_OUR_ENTRY}{letter.entry_id}", letter)
        # A conflict buries an entry that came later, and says nothing about the order that it conflicts with.
        # Whoever has a result was replayed after its letter.
        known = self._known(letter.order_id)
        if letter.order_id and letter.reason != _CONFLICT and not isinstance(known, OrderResult):
            self._keep(place, letter.order_id, letter)

    def _keep(self, place: str, key: str, outcome: OrderResult | Letter) -> None:
        self._outcomes[key] = (place, outcome)
        while len(self._outcomes) > REMEMBERED + len(self._awaited):
            oldest, (gone, known) = self._outcomes.popitem(last=False)
            if oldest in self._awaited:
                # Whoever waits for it may not have run since it was read.
                self._outcomes[oldest] = (gone, known)
            else:
                self.since = max(self.since, gone, key=_order)


class Tails:
    """Gives each who waits the tail that all share, or one of its own where it looks further back."""

    def __init__(self, results: str, dead_letters: str, orders: str, group: str) -> None:
        self._make = partial(Tail, results, dead_letters)
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

    def confirmed(self, added: Added) -> Steps[OrderResult | None]:
        """Return the result of another entry if it answers for this one; None while that is not known.

        The entry is a duplicate, or a conflict. The worker publishes a letter in one step with acking its
        entry: once that is settled, the letter stands there or never will. Raises Buried where it does.
        """
        stream, ours = self._orders, added.entry_id
        try:
            groups, pending = yield from asked(
                ("XINFO", "GROUPS", stream), ("XPENDING", stream, self._group, ours, ours, 1)
            )
        except redis.RedisError as error:
            if not may_be_repeated(error):
                raise
            return None
        delivered = {each["name"]: each["last-delivered-id"] for each in map(named, groups)}
        if pending or _order(delivered[self._group.encode()].decode()) < _order(ours):
            return None
        tail = self._make(added.since)
        tail.awaits(added)
        while not tail.is_at_end:
            yield from tail.read_on(SHORTEST_BLOCK_S)
        return tail.outcome_of(added)


def _keys(added: Added) -> tuple[str, str]:
    return f"{_OUR_ENTRY}{added.entry_id}", added.order_id


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)
