"""What was given out on a fake stream: it only grows, but for what people trim or delete."""

from collections.abc import Callable, Iterable
from typing import Generic, SupportsIndex, TypeVar

from worker.domain.deliveries import BEGINNING, entry_order

Given = TypeVar("Given")


class FakeLog(list[Given], Generic[Given]):
    """Entries with ids as Redis gives them. `gone` has what was taken away, which readers may have seen."""

    def __init__(self, milliseconds: Callable[[], int], *, counts_added: bool = True) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.gone: list[Given] = []
        self._milliseconds = milliseconds
        self._counts_added = counts_added
        self.last_id = BEGINNING
        self.deleted_ms = 0

    @property
    def exists(self) -> bool:
        """Whether the key is there: a stream stays when its last entry is taken away."""
        return self.last_id != BEGINNING

    def append(self, given: Given, /) -> None:
        milliseconds, sequence = entry_order(self.last_id)
        now = self._milliseconds()
        # Ids never go back, whatever clocks do.
        self.last_id = f"{now}-0" if now > milliseconds else f"{milliseconds}-{sequence + 1}"
        self.ids.append(self.last_id)
        super().append(given)

    def trim(self, count: int) -> None:
        """Take away the first ones."""
        self.gone += self[:count]
        del self.ids[:count]
        del self[:count]

    def delete(self, place: SupportsIndex) -> None:
        """Take one away, wherever it is."""
        self.deleted_ms = max(self.deleted_ms, entry_order(self.ids[place])[0])
        self.gone.append(self[place])
        del self.ids[place]
        del self[place]

    @property
    def counts_added(self) -> bool:
        """Whether the server counts what was ever added."""
        return self._counts_added

    def lost_until_ms(self) -> int:
        """Return until when entries may have been taken away, as far as the server can tell."""
        if not self.exists:
            return 0
        kept_from_ms = entry_order(self.ids[0] if self.ids else self.last_id)[0]
        if not self._counts_added:
            return kept_from_ms
        return max(kept_from_ms, self.deleted_ms) if self.gone else 0

    def held(self) -> list[tuple[str, Given]]:
        """Return what is there, with its ids."""
        return list(zip(self.ids, self, strict=True))

    def copy(self) -> "FakeLog[Given]":
        copied = FakeLog[Given](self._milliseconds, counts_added=self._counts_added)
        list.extend(copied, self)
        copied.ids, copied.gone = self.ids.copy(), self.gone.copy()
        copied.last_id, copied.deleted_ms = self.last_id, self.deleted_ms
        return copied

    def become(self, other: "FakeLog[Given]") -> None:
        """Be as another one is, for all who hold this one."""
        list.__setitem__(self, slice(None), list(other))
        self.ids, self.gone = other.ids.copy(), other.gone.copy()
        self.last_id, self.deleted_ms = other.last_id, other.deleted_ms


def between(held: Iterable[tuple[str, Given]], first: str, last: str) -> list[tuple[str, Given]]:
    """Return what stands from one id up to another; an id with `(` before it is left out."""
    begin, end = entry_order(first.removeprefix("(")), None if last == "+" else entry_order(last)
    return [
        (entry_id, given)
        for entry_id, given in held
        if entry_order(entry_id) >= begin
        and f"({entry_id}" != first
        and (end is None or entry_order(entry_id) <= end)
    ]
