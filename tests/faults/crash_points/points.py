"""The list of crash points: what each needs ready, and what can't come to pass there, with the reason."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from tests.faults.scale import CHAOS

Way: TypeAlias = Literal["kill", "raise", "outage", "hang", "stop", "slow", "leave", "leave at once"]
WAYS: tuple[Way, ...] = Way.__args__  # type: ignore[attr-defined]
# orders: every class of entries, some abandoned. committed: some of it is committed, and charged to the
# limit. letters: all of it settled, a dead letter is to be replayed. lost: all of it settled, Redis has lost
# the results.
Scene: TypeAlias = Literal["orders", "committed", "letters", "lost"]

SEEDS = range(3) if CHAOS else range(1)
# Without CHAOS: these at every point, each of the others at every sixth, and outages where an answer is what
# gets lost.
ALWAYS: tuple[Way, ...] = ("kill", "stop")
IN_TURN: tuple[Way, ...] = ("outage", "raise", "leave", "slow", "hang", "leave at once")


class Point(Struct, frozen=True):
    """A point in the life of a replica, or of a command, and the ways in which it can't come to grief there.

    `turns`: how often the point is passed before it strikes; a seed chooses. `renews`: needs a lease that is
    renewed. `reads_ahead`: needs batches that are full.
    """

    name: str
    scene: Scene = "orders"
    without: Mapping[str, str] = {}
    turns: tuple[int, ...] = (1,)
    renews: bool = False
    reads_ahead: bool = False

    @property
    def is_of_command(self) -> bool:
        """Whether it lies in a command, not in a replica."""
        return self.scene == "letters"


class Cell(Struct, frozen=True):
    """One combination."""

    point: Point
    way: Way
    seed: int

    @property
    def turn(self) -> int:
        """Which time the point is to strike."""
        return self.point.turns[self.seed % len(self.point.turns)]

    def __str__(self) -> str:
        return f"{self.point.name}-{self.way}-{self.seed}"


_NO_SERVER = {"outage": "no server is asked there"}
_SILENT = {"outage": "the server's answer was read: nothing can be lost between it and this point"}
_EXECUTING = {
    "slow": "an execution may not outlast its timeout, which is shorter than the lease: that is `hang`",
}
_ONLY_LOST: dict[str, str] = dict.fromkeys(
    (way for way in WAYS if way != "outage"), "the same as at the point after it, where nothing was lost"
)
_DRAINING = {
    "leave at once": "it is draining: the second request to leave is `leave`",
}
_OF_COMMAND = {
    "slow": "a command holds no lease",
    "leave": "a command does not drain: SIGTERM ends it, as `kill` does",
    "leave at once": "a command does not drain: SIGTERM ends it, as `kill` does",
    "hang": "nobody but its user waits for a command, who ends it: that is `kill`",
}

POINTS = (
    Point("before read"),
    Point("read done, reply lost", without=_ONLY_LOST),
    Point("after read", without=_SILENT),
    Point("in claim", without={"slow": "what is not known yet can't be renewed: that is `stop`"}),
    Point("in decode", without=_NO_SERVER, turns=(1, 6, 9)),
    Point("before charge"),
    Point("after charge"),
    Point("in execute", without=_EXECUTING, turns=(1, 4, 7)),
    Point("after answer", without={**_NO_SERVER, **_EXECUTING}, turns=(1, 4, 7)),
    Point("one bad row in a batch", without=_SILENT),
    Point("read ahead sent, never arrived", reads_ahead=True),
    Point("read ahead done, reply lost", reads_ahead=True),
    Point("half of the rows copied", turns=(2, 1)),
    Point("between the copies"),
    Point("between the inserts", turns=(1, 2)),
    Point("before COMMIT", turns=(1, 3, 2)),
    Point("COMMIT sent, connection dies", turns=(1, 3, 2)),
    Point("COMMIT done, reply lost", turns=(1, 3, 2)),
    Point("after COMMIT", turns=(1, 3, 2)),
    Point("DEAD row committed, letter not yet written"),
    Point("count over the limit but the order is committed", scene="committed"),
    Point("script cache empty", turns=(1, 3, 2)),
    Point("settle sent, never arrived", turns=(1, 3, 2)),
    Point("settle done, reply lost", turns=(1, 3, 2)),
    Point("before the dead letter script", turns=(1, 2)),
    Point("dead letter done, reply lost", turns=(1, 2)),
    Point("renewal lost", renews=True),
    Point("renewal done, reply lost", renews=True),
    Point("renewal after the lease is lost", renews=True),
    Point("before consumer removal"),
    Point("after consumer removal"),
    Point("in drain", without=_DRAINING),
    Point("before a repair's script", scene="lost", turns=(1, 2)),
    Point("after a repair's script", scene="lost", turns=(1, 2)),
    Point("before a replay's script", scene="letters", without=_OF_COMMAND),
    Point("after a replay's script", scene="letters", without=_OF_COMMAND),
)


def cells(*ways: Way) -> list[Cell]:
    """Return the combinations of these ways that can come to pass and have their turn, with each seed."""
    return [
        Cell(point, way, seed)
        for number, point in enumerate(POINTS)
        for way in ways
        if way not in point.without and (CHAOS or way in ALWAYS or _has_its_turn(number, way))
        for seed in SEEDS
    ]


def _has_its_turn(number: int, way: Way) -> bool:
    place = IN_TURN.index(way)
    loses_an_answer = any(word in POINTS[number].name for word in ("lost", "never arrived", "dies"))
    return number % len(IN_TURN) == place or (way == "outage" and loses_an_answer)
