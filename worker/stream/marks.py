"""The settled marks as a whole: from when on they are complete, and how they are made anew from what was given out."""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from worker.domain.evidence import Marked
from worker.stream.connection import RedisLink, RedisNames, outages, text
from worker.stream.information import StreamInformation
from worker.stream.scripts import source

PAGE = 1000


class Marks:
    """Every step is repeatable. Raises Outage. A reader that was not heard of for a lease is gone, and another one begins."""

    def __init__(self, link: RedisLink, names: RedisNames, *, lease_ms: int) -> None:
        self._link = link
        self._names = names
        self._lease_ms = lease_ms
        self._remember = link.script(source("remember"))

    def state(self) -> Marked:
        """Return what marks tell; they are begun where there are none."""
        found = self._make((), Marked())
        if found is None:
            raise AssertionError("nothing was asked of the marks")
        return found

    def remember(self, entry_ids: Sequence[str], known: Marked) -> bool:
        """Mark entries as settled, and what `known` says of all; False where the marks were lost meanwhile."""
        return self._make(entry_ids, known) is not None

    def begin_walk(self) -> bool:
        """Become the one who reads the results, or stay it; False where another replica does."""
        names = self._names
        with outages():
            taken = self._link.call("SET", names.walk, names.consumer, "NX", "PX", self._lease_ms)
            if taken is None and self._link.call("GET", names.walk) != names.consumer.encode():
                return False
            self._link.call("PEXPIRE", names.walk, self._lease_ms)
        return True

    def end_walk(self) -> None:
        """Let others read them."""
        with outages():
            self._link.call("DEL", self._names.walk)

    def unite(self) -> int:
        """Take over the marks that other groups of this stream have from the version before; return how many were looked at."""
        looked_at = 0
        for key in self._of_other_groups():
            for page in self._pages(key):
                horizons = [int(score) for name, score in page if name == "horizon"]
                self._make(
                    [name for name, _ in page if name != "horizon"],
                    Marked(horizon_ms=max(horizons, default=0)),
                )
                looked_at += len(page)
        return looked_at

    def _make(self, entry_ids: Sequence[str], known: Marked) -> Marked | None:
        names = self._names
        since = (known.results_since_ms, known.letters_since_ms, known.walked_since_ms)
        facts = [known.made, known.horizon_ms or "", *("" if each is None else each for each in since)]
        with outages():
            found = self._remember(
                [names.results, names.dead_letters, names.settled, names.settled_before], [*facts, *entry_ids]
            )
        if found is None:
            return None
        made, results, letters, walked = map(text, found)
        return Marked(made, 0, int(results), int(letters), int(walked) if walked else None)

    def _of_other_groups(self) -> Iterator[str]:
        with outages():
            groups = [text(each["name"]) for each in StreamInformation(self._link, self._names).groups()]
        for group in groups:
            if group != self._names.group:
                yield replace(self._names, group=group).settled_before

    def _pages(self, key: str) -> Iterator[list[tuple[str, float]]]:
        cursor = "0"
        while True:
            with outages():
                after, found = self._link.call("ZSCAN", key, cursor, "COUNT", PAGE)
            pairs = (
                found
                if found and isinstance(found[0], list)
                else list(zip(found[::2], found[1::2], strict=True))
            )
            if pairs:
                yield [(text(name), float(score)) for name, score in pairs]
            cursor = text(after)
            if cursor == "0":
                return
