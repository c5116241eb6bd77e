"""What many look at is asked for once a second at the most, and only while somebody looks."""

import math
import time
from collections.abc import Callable
from threading import Condition, Thread
from typing import Generic, TypeVar

import structlog
from msgspec import Struct

log = structlog.get_logger(__name__)

EVERY_S = 1.0
# Who looks again and again is shown what was asked for last; who looks for the first time waits so long.
LOOKS_WAIT_S = 2.0
NOBODY_LOOKS_AFTER_S = 10.0
ENDS_WITHIN_S = 1.0

_Told = TypeVar("_Told")


class Watched(Struct, Generic[_Told], frozen=True):
    """What was told, and how many seconds ago."""

    told: _Told
    age_s: float


class Watch(Generic[_Told]):
    """Keeps what a question was answered with last. Looking never asks: a thread does, which dies with us.

    However many look, it is asked once a second, and as long as nobody looks, not at all. A question that
    hangs keeps nobody waiting for longer than two seconds: then what is known is shown, with its age.
    """

    def __init__(self, question: Callable[[], _Told], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._question = question
        self._clock = clock
        self._changed = Condition()
        self._told: _Told | None = None
        self._told_at = -math.inf
        self._looked_at = -math.inf
        self._is_over = False
        self._thread: Thread | None = None

    def look(self) -> Watched[_Told] | None:
        """Return what was told last, None where nothing was in time."""
        with self._changed:
            self._looked_at = self._clock()
            if self._thread is None and not self._is_over:
                self._thread = Thread(target=self._run, name="watch", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            self._changed.wait_for(self._is_fresh, timeout=LOOKS_WAIT_S)
            if self._told is None:
                return None
            return Watched(self._told, max(0.0, self._clock() - self._told_at))

    def end(self) -> None:
        """Ask no more; wait a moment for an answer, so that nobody closes a connection that is being used."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=ENDS_WITHIN_S)

    def _is_fresh(self) -> bool:
        # While somebody looks all the time it is asked for without anybody having to wait.
        return self._is_over or self._clock() - self._told_at < 2 * EVERY_S

    def _somebody_looks(self) -> bool:
        return self._is_over or self._clock() - self._looked_at < NOBODY_LOOKS_AFTER_S

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._somebody_looks)
                if self._is_over:
                    return
            began = self._clock()
            self._ask()
            with self._changed:
                rest_s = max(0.0, began + EVERY_S - self._clock())
                self._changed.wait_for(lambda: self._is_over, timeout=rest_s)

    def _ask(self) -> None:
        try:
            told = self._question()
        except Exception as error:  # noqa: BLE001  the thread must outlive whatever it meets
            log.warning("page not brought up to date", error=f"{type(error).__name__}: {error}")
            return
        with self._changed:
            self._told, self._told_at = told, self._clock()
            self._changed.notify_all()
