"""The settled marks as a whole: since when they are complete, and how they are made anew.

They are made anew from what was given out.
"""

from collections.abc import Sequence

from worker.domain.evidence import Marked
from worker.stream.link.connection import RedisLink
from worker.stream.link.outages import outages, text
from worker.stream.names import RedisNames
from worker.stream.scripts import source
from worker.stream.turn import Turn


class Marks:
    """Every step is repeatable. Raises Outage.

    A reader that was not heard of for a lease is gone, and another one begins.
    """

    def __init__(self, link: RedisLink, names: RedisNames, *, lease_ms: int) -> None:
        self._names = names
        self._turn = Turn(link, names.walk, names.consumer, lease_ms=lease_ms)
        self._remember = link.script(source("remember"))

    def state(self) -> Marked:
        """Return what marks tell; they are begun where there are none."""
        found = self._make((), Marked())
        if found is None:
            raise AssertionError("nothing was asked of the marks")
        return found

    def remember(self, entry_ids: Sequence[str], known: Marked) -> bool:
        """Mark entries as settled, and what `known` says of all; False if the marks were lost meanwhile."""
        return self._make(entry_ids, known) is not None

    def begin_walk(self) -> bool:
        """Become the one who reads the results, or stay it; False where another replica does."""
        return self._turn.take()

    def end_walk(self) -> None:
        """Let others read them."""
        self._turn.end()

    def _make(self, entry_ids: Sequence[str], known: Marked) -> Marked | None:
        names = self._names
        since = (known.results_since_ms, known.letters_since_ms, known.walked_since_ms)
        facts = [known.made, *("" if each is None else each for each in since)]
        with outages():
            found = self._remember(
                [names.results, names.dead_letters, names.settled, names.settled_before], [*facts, *entry_ids]
            )
        if found is None:
            return None
        made, results, letters, walked = map(text, found)
        return Marked(made, int(results), int(letters), int(walked) if walked else None)
