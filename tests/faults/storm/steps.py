"""Where a replica stands: a breadcrumb in a shared file, left by its ports' wrappers, read at its death."""

import mmap
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import psycopg

from worker.domain.deliveries import Delivery


class Step(IntEnum):
    """What the loop was about. RENEW is told apart: another thread renews beside any of the others."""

    STARTING = 0
    IDLE = 1
    READ = 2
    DECODE = 3
    INBOX = 4
    CHARGE = 5
    EXECUTE = 6
    BEFORE_COMMIT = 7
    COMMIT = 8
    AFTER_COMMIT = 9
    SETTLE = 10
    SETTLED = 11
    CLAIM = 12
    CLAIMED = 13
    SWEEP = 14
    TIDY = 15
    OUTAGE = 16
    DRAIN = 17
    RENEW = 18
    READ_AHEAD = 19
    ARRIVED = 20

    @property
    def text(self) -> str:
        return self.name.lower().replace("_", " ")


# Each kind of work that a sudden end may interrupt; the rest of the steps are met as they come.
EVERY_STEP = (
    Step.IDLE,
    Step.READ,
    Step.DECODE,
    Step.INBOX,
    Step.CHARGE,
    Step.EXECUTE,
    Step.BEFORE_COMMIT,
    Step.COMMIT,
    Step.AFTER_COMMIT,
    Step.SETTLE,
    Step.SETTLED,
    Step.CLAIM,
    Step.CLAIMED,
    Step.TIDY,
    Step.RENEW,
    Step.READ_AHEAD,
    Step.ARRIVED,
)
# Over before anybody outside has seen it.
TOO_SHORT = {
    Step.READ_AHEAD,
    Step.ARRIVED,
    Step.AFTER_COMMIT,
    Step.SETTLED,
    Step.CLAIMED,
    Step.TIDY,
    Step.RENEW,
}
# While somebody is to die when it renews, all keep their batches in hand here: most are settled before a
# lease needs it.
LINGERS_AT = Step.SETTLE
_NOWHERE = 255
_BYTES = 2


class Crumbs:
    """All replicas' breadcrumbs: of each a byte for its loop and one for renewals; then where one is to die.

    The one is whoever takes the ticket, a file that can be removed once.
    """

    @classmethod
    def made(cls, file: Path, places: int) -> "Crumbs":
        """Make the file."""
        file.write_bytes(bytes(_BYTES * places) + bytes([_NOWHERE]))
        made = cls(file)
        for place in range(places):
            made.clear(place)
        return made

    def __init__(self, file: Path) -> None:
        self.file = file
        self._ticket = file.with_suffix(".ticket")
        with file.open("r+b") as opened:
            self._bytes = mmap.mmap(opened.fileno(), 0)

    def drop(self, place: int, step: Step) -> None:
        self._bytes[_BYTES * place] = step
        self._come_to(step)
        while step is LINGERS_AT and self._bytes[-1] == Step.RENEW:
            time.sleep(0.001)

    def renewing(self, place: int, *, busy: bool) -> None:
        self._bytes[_BYTES * place + 1] = busy
        if busy:
            self._come_to(Step.RENEW)

    def aim(self, step: Step) -> None:
        """Have the replica die that comes to a step first."""
        self._ticket.touch()
        self._bytes[-1] = step

    def withdraw(self) -> bool:
        """Let nobody die any more; return false when somebody does already."""
        self._bytes[-1] = _NOWHERE
        try:
            self._ticket.unlink()
        except FileNotFoundError:
            return False
        return True

    def _come_to(self, step: Step) -> None:
        if self._bytes[-1] == step and self.withdraw():
            os.kill(os.getpid(), signal.SIGKILL)

    def clear(self, place: int) -> None:
        self.drop(place, Step.STARTING)
        self.renewing(place, busy=False)

    def step(self, place: int) -> Step:
        return Step(self._bytes[_BYTES * place])

    def steps(self, place: int) -> set[Step]:
        """What the replica is about now, or was when it ended."""
        return {self.step(place)} | ({Step.RENEW} if self._bytes[_BYTES * place + 1] else set())


class Marked:
    """A port that says before and after each call where the replica stands."""

    calls: ClassVar[Mapping[str, tuple[Step, Step]]] = {}

    def __init__(self, inner: Any, crumbs: Crumbs, place: int) -> None:
        self._inner = inner
        self._crumbs = crumbs
        self._place = place

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        return partial(self._call, value, *self.calls[name]) if name in self.calls else value

    def _call(self, act: Callable[..., Any], before: Step, after: Step, *args: Any, **named: Any) -> Any:
        self._crumbs.drop(self._place, before)
        try:
            answer = act(*args, **named)
        except BaseException:
            self._crumbs.drop(self._place, Step.OUTAGE)
            raise
        self._crumbs.drop(self._place, after)
        return answer


class MarkedStream(Marked):
    calls: ClassVar[Mapping[str, tuple[Step, Step]]] = {
        "read_ahead": (Step.READ_AHEAD, Step.BEFORE_COMMIT),
        "claim": (Step.CLAIM, Step.CLAIMED),
        "own_pending": (Step.SWEEP, Step.SWEEP),
        "charge": (Step.CHARGE, Step.DECODE),
        "fetch": (Step.CHARGE, Step.DECODE),
        "settle": (Step.SETTLE, Step.SETTLED),
        "retain": (Step.TIDY, Step.TIDY),
        "remove_dead": (Step.TIDY, Step.TIDY),
        "ping": (Step.OUTAGE, Step.OUTAGE),
        "release": (Step.DRAIN, Step.DRAIN),
        "leave": (Step.DRAIN, Step.DRAIN),
    }
    _busy = False

    def read(self, count: int, block_ms: int) -> list[Delivery]:
        # Nothing tells from outside when a blocking read begins to bring something: the last one is the
        # better guess.
        before = Step.READ if self._busy else Step.IDLE
        found: list[Delivery] = self._call(self._inner.read, before, Step.DECODE, count, block_ms)
        self._busy = bool(found)
        if not found:
            self._crumbs.drop(self._place, Step.IDLE)
        return found

    def arrived(self) -> list[Delivery]:
        found: list[Delivery] = self._inner.arrived()
        if found:
            # In the middle of a settle, as a rule.
            before = self._crumbs.step(self._place)
            self._crumbs.drop(self._place, Step.ARRIVED)
            self._crumbs.drop(self._place, before)
        return found

    def renew(self, entry_ids: Any) -> list[str]:
        if not entry_ids:
            return []
        self._crumbs.renewing(self._place, busy=True)
        try:
            lost: list[str] = self._inner.renew(entry_ids)
            return lost
        finally:
            self._crumbs.renewing(self._place, busy=False)


class MarkedStore(Marked):
    calls: ClassVar[Mapping[str, tuple[Step, Step]]] = {
        "find": (Step.INBOX, Step.DECODE),
        "record": (Step.BEFORE_COMMIT, Step.AFTER_COMMIT),
        "ping": (Step.OUTAGE, Step.OUTAGE),
    }


class MarkedExecutor(Marked):
    calls: ClassVar[Mapping[str, tuple[Step, Step]]] = {"execute": (Step.EXECUTE, Step.EXECUTE)}


def watch_commits(crumbs: Crumbs, place: int) -> None:
    """Mark the step that no port shows: from a writing transaction's last statement to its COMMIT's end."""
    execute = psycopg.Connection.execute

    def watched(connection: psycopg.Connection[Any], query: Any, *args: Any, **options: Any) -> Any:
        if threading.current_thread() is threading.main_thread() and crumbs.step(place) is Step.BEFORE_COMMIT:
            crumbs.drop(place, Step.COMMIT)
        return execute(connection, query, *args, **options)

    # Nothing else goes past SQLAlchemy.
    psycopg.Connection.execute = watched  # type: ignore[method-assign,assignment]
