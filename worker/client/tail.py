"""The end of the results and dead letters, read once for all who wait in one process."""

from collections import Counter, OrderedDict
from collections.abc import Callable

import redis

from worker.client.errors import Buried
from worker.client.link import Command, Reply, Steps, Wait, asked, by_stream, may_be_repeated, pause_s
from worker.client.order import Added
from worker.client.outcome import Letter, OrderResult, read_letter, read_result

PAGE = 1000
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

    def __init__(self, make: Callable[[str], Tail]) -> None:
        self._make = make
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


def _keys(added: Added) -> tuple[str, str]:
    return f"{_OUR_ENTRY}{added.entry_id}", added.order_id


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)
