"""Asks whoever the settings name for user and password, and lets a slow answer hold nobody up."""

import time
import unicodedata
from threading import Lock, Thread
from typing import cast

from worker.domain.credentials import Credentials, Server
from worker.domain.errors import AccessDenied, ConfigurationError, Outage, named
from worker.domain.loading import load, way_out
from worker.settings import Settings

# As long as a connection may take.
PATIENCE_S = 3.0
# What came too late is good for the next try, which an outage has within seconds, and for no later one.
LATE_IS_GOOD_FOR_S = 10.0
# A call may wait for ever for what will never come (a connection that was dropped without a word), while
# another would be answered at once. Each that hangs keeps a thread, so the next is waited for twice as long.
GIVEN_UP_AFTER_S = 30.0
MOST_AT_ONCE = 4

_NAME = "WORKER_CREDENTIALS"
# Control characters, and halves of characters, which no server can be sent.
_UNFIT = {"Cc", "Cs"}


def credentials_of(settings: Settings) -> Credentials | None:
    """Return what is asked for user and password, None where the URLs have them.

    Raises ConfigurationError where it is not there, or can't be asked.
    """
    name = settings.credentials
    if name is None:
        return None
    try:
        found = load(name)
    except (ImportError, AttributeError) as error:
        why = named(error) + way_out(error)
        raise ConfigurationError(f"{_NAME}: {name!r} can't be loaded: {why}") from None
    except Exception as error:  # noqa: BLE001  whatever a module raises that others wrote
        # Its text may hold a secret: the module is there to get some.
        why = type(error).__name__
        raise ConfigurationError(f"{_NAME}: {name!r} can't be loaded: importing it raises {why}") from None
    if not callable(found):
        raise ConfigurationError(f"{_NAME}: {name!r} can't be called")
    return Asking(cast("Credentials", found))


class Asking:
    """Asks a callback, in one thread at a time: whoever comes while that takes long awaits the same answer.

    So one that never returns costs each try a few seconds, and the loop shows signs of life in between. It is
    given up in the end, and asked anew, while no more than MOST_AT_ONCE have not returned.
    """

    def __init__(self, callback: Credentials, *, patience_s: float = PATIENCE_S) -> None:
        self._callback = callback
        self._patience_s = patience_s
        self._lock = Lock()
        self._question: _Question | None = None
        self._given_up: list[_Question] = []

    def __call__(self, server: Server) -> tuple[str, str]:
        """Return user and password. Raises Outage, and AccessDenied where the callback has to be mended."""
        question = self._asked(server)
        question.join(self._patience_s)
        if question.is_alive():
            raise Outage(server.kind, f"{_NAME}: has not returned within {self._patience_s:g} s")
        with self._lock:
            # The next connection asks anew.
            if self._question is question:
                self._question = None
        if question.failure is not None:
            raise Outage(server.kind, f"{_NAME}: raised {question.failure}")
        return _pair(server, question.answer)

    def _asked(self, server: Server) -> "_Question":
        with self._lock:
            question = self._question
            if question is None or not self._may_answer(question, server):
                hanging = [
                    each for each in (*self._given_up, question) if each is not None and each.is_alive()
                ]
                if len(hanging) >= MOST_AT_ONCE:
                    raise Outage(server.kind, f"{_NAME}: {len(hanging)} calls have not returned")
                self._given_up = hanging
                question = self._question = _Question(self._callback, server)
                question.start()
            return question

    def _may_answer(self, question: "_Question", server: Server) -> bool:
        if question.server != server or question.is_stale():
            return False
        hanging = sum(each.is_alive() for each in self._given_up)
        is_last = hanging + 1 >= MOST_AT_ONCE
        return is_last or not question.hangs_for(GIVEN_UP_AFTER_S * 2**hanging)


class _Question(Thread):
    """One call, which ends with an answer or the class of a failure."""

    def __init__(self, callback: Credentials, server: Server) -> None:
        super().__init__(name="credentials", daemon=True)
        self.server = server
        self.answer: object = None
        self.failure: str | None = None
        self._callback = callback
        self._began_at = time.monotonic()
        self._ended_at: float | None = None

    def run(self) -> None:
        """Call it."""
        try:
            self.answer = self._callback(self.server)
        except BaseException as error:  # noqa: BLE001  whatever it is, somebody awaits it
            self.failure = type(error).__name__
        self._ended_at = time.monotonic()

    def hangs_for(self, at_least_s: float) -> bool:
        """Whether it was asked so long ago and has not returned."""
        return self._ended_at is None and time.monotonic() - self._began_at >= at_least_s

    def is_stale(self) -> bool:
        """Whether it ended so long ago that what it has to say may not be true any more."""
        return self._ended_at is not None and time.monotonic() - self._ended_at > LATE_IS_GOOD_FOR_S


def _pair(server: Server, answer: object) -> tuple[str, str]:
    match answer:
        case (str() as user, str() as password):
            if any(unicodedata.category(character) in _UNFIT for character in user + password):
                raise AccessDenied(server.kind, f"{_NAME}: gave a control character, such as a line break")
            if server.kind == "postgresql" and not user:
                raise AccessDenied(server.kind, f"{_NAME}: gave no user, which PostgreSQL needs")
            return user, password
        case _:
            raise AccessDenied(
                server.kind, f"{_NAME}: must return user and password, two texts, not {_kind(answer)}"
            )


def _kind(answer: object) -> str:
    if isinstance(answer, tuple | list):
        kinds = ", ".join(type(each).__name__ for each in answer[:3])
        return f"{type(answer).__name__} of {len(answer)}: {kinds}"
    return type(answer).__name__
