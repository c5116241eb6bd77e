"""Asks the servers how they are, from a thread of its own, so that no request ever has to."""

import time
from collections.abc import Callable, Mapping
from threading import Event, Lock, Thread
from typing import Generic, Protocol, TypeVar

import structlog
from msgspec import Struct
from msgspec.structs import replace

from worker.domain.database_state import DatabaseState
from worker.domain.errors import Outage, Refused
from worker.domain.measured import Figures
from worker.domain.stream_state import StreamState

log = structlog.get_logger(__name__)

_Told = TypeVar("_Told")

CHECK_EVERY_S = 1.0
STALE_AFTER_S = 5.0
LAST_ANSWER_S = 1.0


class Vitals(Protocol):
    """What the running worker tells about itself; reading it costs nothing and never waits."""

    @property
    def sign_of_life_age_s(self) -> float:
        """Seconds since the loop passed one of its stations."""

    @property
    def state(self) -> str:
        """starting, running, outage or draining."""

    @property
    def outage(self) -> str | None:
        """What is being waited for."""

    def counts(self) -> Mapping[str, int]:
        """What has been done since start."""

    def figures(self) -> Figures:
        """What was measured since start."""


class LastAnswer(Struct, Generic[_Told], frozen=True):
    """What one server told when it was asked last, or why that is nothing."""

    at: float
    # Until when it counts as the present.
    good_until: float = 0.0
    told: _Told | None = None
    error: str | None = None

    @property
    def connected(self) -> bool:
        """Whether it answers."""
        return self.told is not None


def _each_second() -> float:
    return CHECK_EVERY_S


def _as_it_was(told: _Told) -> _Told:
    return told


class Check(Generic[_Told]):
    """Keeps what one server told last. Its thread dies with the process; a stale answer counts as none.

    A server that has answered is asked again once its pace has passed, in seconds, which may change
    meanwhile. Something newer may be known from others before that.
    """

    def __init__(
        self,
        server: str,
        question: Callable[[], _Told],
        *,
        pace_s: Callable[[], float] = _each_second,
        newest: Callable[[_Told], _Told] = _as_it_was,
    ) -> None:
        self._server = server
        self._question = question
        self._pace_s = pace_s
        self._newest = newest
        self._last: LastAnswer[_Told] = LastAnswer(at=0.0, error="not asked yet")
        self._lock = Lock()
        self._over = Event()
        self._thread = Thread(target=self._run, name=f"check {server}", daemon=True)

    def start(self) -> None:
        """Begin to ask, unless that has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def end(self) -> None:
        """Ask no more."""
        self._over.set()

    def wait(self) -> None:
        """Return once the last answer is in, or takes too long."""
        if self._thread.is_alive():
            self._thread.join(timeout=LAST_ANSWER_S)

    @property
    def last(self) -> LastAnswer[_Told]:
        """What it told last, or why that is nothing."""
        with self._lock:
            last = self._last
        if last.told is None:
            return last
        if time.monotonic() > last.good_until:
            # Without its figures: they were true once.
            return LastAnswer(at=last.at, error="has not answered lately")
        newest = self._newest(last.told)
        return last if newest is last.told else replace(last, told=newest)

    def ask(self) -> None:
        """Ask now."""
        try:
            told = self._question()
        except Outage as outage:
            found = LastAnswer[_Told](at=time.monotonic(), error=outage.reason)
        except Refused as error:
            found = LastAnswer(at=time.monotonic(), error=str(error))
        except Exception as error:  # noqa: BLE001  the thread must outlive whatever a check meets
            log.warning("check failed", server=self._server, error=f"{type(error).__name__}: {error}")
            found = LastAnswer(at=time.monotonic(), error=type(error).__name__)
        else:
            at = time.monotonic()
            found = LastAnswer(at=at, good_until=at + STALE_AFTER_S, told=told)
        with self._lock:
            self._last = found

    def look(self) -> None:
        """Ask where that is due; else the last answer still counts, since it is left alone on purpose."""
        now = time.monotonic()
        with self._lock:
            last = self._last
            due = not last.connected or now >= last.at + self._pace_s()
            if not due:
                self._last = replace(last, good_until=now + STALE_AFTER_S)
        if due:
            self.ask()

    def _run(self) -> None:
        self.ask()
        while not self._over.wait(CHECK_EVERY_S):
            self.look()


class Checks:
    """Those of both servers; each has its own thread, so that a silent server does not hide the other."""

    def __init__(self, redis: Check[StreamState], database: Check[DatabaseState]) -> None:
        self.redis = redis
        self.database = database
        self._is_stopped = False

    def start(self) -> None:
        """Begin to ask, unless that has begun."""
        self.redis.start()
        self.database.start()

    def stop(self) -> None:
        """Ask no more; return once the last answers are in, or take too long. Asked again, do nothing."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self.redis.end()
        self.database.end()
        self.redis.wait()
        self.database.wait()
