"""Asks the servers how they are, from a thread of its own, so that no request ever has to."""

import time
from collections.abc import Callable, Mapping
from threading import Event, Lock, Thread
from typing import Any, Protocol

import structlog
from msgspec import Struct
from msgspec.structs import replace

from worker.domain.errors import Outage, Refused

log = structlog.get_logger(__name__)

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


class Finding(Struct, frozen=True):
    """The last answer of one server, or why there was none."""

    connected: bool
    at: float
    # Until when it counts as the present.
    good_until: float = 0.0
    details: Mapping[str, Any] = {}
    error: str | None = None


NOT_ASKED = Finding(connected=False, at=0.0, error="not asked yet")


def _each_second() -> float:
    return CHECK_EVERY_S


class Checks:
    """Keeps one finding per server. The thread dies with the process; a stale finding counts as disconnected.

    A server that has answered is asked again once its pace has passed, in seconds, which may change meanwhile. Its figures may
    be known from others before that.
    """

    def __init__(
        self,
        questions: Mapping[str, Callable[[], Mapping[str, Any]]],
        *,
        paces: Mapping[str, Callable[[], float]] | None = None,
        figures: Mapping[str, Callable[[], Mapping[str, Any]]] | None = None,
    ) -> None:
        self._questions = questions
        self._figures = figures or {}
        self._paces = dict.fromkeys(questions, _each_second) | dict(paces or {})
        self._findings = dict.fromkeys(questions, NOT_ASKED)
        self._lock = Lock()
        self._over = Event()
        self._threads = [
            Thread(target=self._run, args=(server,), name=f"check {server}", daemon=True)
            for server in questions
        ]

    def start(self) -> None:
        """Begin to ask, unless that has begun; each server has its own thread, so that a silent one does not hide the other."""
        for thread in self._threads:
            if thread.ident is None:
                thread.start()

    def stop(self) -> None:
        """Ask no more; return once the last answers are in, or take too long."""
        if self._over.is_set():
            return
        self._over.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=LAST_ANSWER_S)

    def finding(self, server: str) -> Finding:
        """Return the last finding about a server."""
        with self._lock:
            found = self._findings[server]
        if found.connected and time.monotonic() > found.good_until:
            # Without its figures: they were true once.
            return Finding(connected=False, at=found.at, error="has not answered lately")
        newer = self._figures[server]() if found.connected and server in self._figures else {}
        return replace(found, details={**found.details, **newer}) if newer else found

    def ask(self, server: str) -> None:
        """Ask one server now."""
        try:
            details = self._questions[server]()
        except Outage as outage:
            found = Finding(connected=False, at=time.monotonic(), error=outage.reason)
        except Refused as error:
            found = Finding(connected=False, at=time.monotonic(), error=str(error))
        except Exception as error:  # noqa: BLE001  the thread must outlive whatever a check meets
            log.warning("check failed", server=server, error=f"{type(error).__name__}: {error}")
            found = Finding(connected=False, at=time.monotonic(), error=type(error).__name__)
        else:
            at = time.monotonic()
            found = Finding(connected=True, at=at, good_until=at + STALE_AFTER_S, details=details)
        with self._lock:
            self._findings[server] = found

    def _run(self, server: str) -> None:
        self.ask(server)
        while not self._over.wait(CHECK_EVERY_S):
            self.look(server)

    def look(self, server: str) -> None:
        """Ask a server where that is due; else its last answer is that of the present, since it is left alone on purpose."""
        now = time.monotonic()
        with self._lock:
            found = self._findings[server]
            due = not found.connected or now >= found.at + self._paces[server]()
            if not due:
                self._findings[server] = replace(found, good_until=now + STALE_AFTER_S)
        if due:
            self.ask(server)
