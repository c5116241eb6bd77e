"""How many orders make a group, so that it takes about a second, however slow an executor is."""

from collections.abc import Callable

from worker.domain.ports import Monotonic

# Between two groups a loop hears of a drain, claims, lets retention have its turn. Of an executor that takes
# a millisecond and less the largest batch takes no longer.
GROUP_S = 1.0


class Pace:
    """Measures groups, and says of the one that is being worked through whether it should go on.

    `at_once` is the size of the next group: it falls as soon as executions take longer, and at most doubles
    with each group that was quick. It begins at `most`, which it never exceeds, and which is also as many as
    wait in hand to be tried again.
    """

    def __init__(self, *, most: int, clock: Monotonic, leaving: Callable[[], bool]) -> None:
        self.most = self.at_once = most
        self._clock = clock
        self._leaving = leaving
        self._began = clock()
        self._begun = 0

    def begin(self) -> None:
        """Begin with a group."""
        self._began, self._begun = self._clock(), 0

    def another(self) -> bool:
        """Whether one more order of the group may begin; the first may, unless somebody asked to leave."""
        if self._leaving() or (self._begun and self._over):
            return False
        self._begun += 1
        return True

    def must_end(self) -> bool:
        """Whether somebody asked to leave, and the group has had its time."""
        return self._leaving() and self._over

    def end(self, executed: int) -> None:
        """Note that so many orders of the group were executed."""
        took_s = self._clock() - self._began
        if executed:
            fits = self.most if took_s <= 0 else int(GROUP_S * executed / took_s)
            self.at_once = max(1, min(fits, 2 * self.at_once, self.most))

    @property
    def _over(self) -> bool:
        return self._clock() - self._began >= GROUP_S
