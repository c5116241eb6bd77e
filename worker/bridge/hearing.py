"""Hears a channel, gives what was heard its numbers, and comes back after a cut."""

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from threading import Event, Thread

import structlog
from msgspec import Struct
from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from worker import wire
from worker.bridge.backlog import Backlog
from worker.bridge.ports import Hearing, Source
from worker.domain.channels import Heard
from worker.domain.errors import Outage

log = structlog.get_logger(__name__)

WAIT_S = 0.2
MILESTONE_TIMEOUT_S = 5.0
SHORT_S = 1.0
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 1.0
SHOWN_BYTES = 2048


class Account(Struct):
    """Received = added + added by others + left to others + lost + waiting. One thread counts each."""

    received: int = 0
    added: int = 0
    added_by_others: int = 0
    left_to_others: int = 0
    lost: int = 0
    gaps: int = 0

    def lose(self, message: bytes, why: str, hiding: wire.Hiding) -> None:
        """Count a message that this bridge can't add, and leave it in the log: a person may submit it."""
        self.lost += 1
        shown = hiding.message(message, SHOWN_BYTES)
        log.error("message lost", why=why, size=len(message), message=shown)


class Ear:
    """Hears the channel in a thread of its own: Redis cuts off a subscriber that reads too slowly."""

    def __init__(
        self, source: Source, backlog: Backlog, account: Account, leaving: Event, hiding: wire.Hiding
    ) -> None:
        self.failed = False
        self._source = source
        self._backlog = backlog
        self._account = account
        self._leaving = leaving
        self._hiding = hiding
        self._open = ExitStack()
        self._early: list[bytes] | None = None
        self._alone = True
        self._next_milestone_at = 0.0
        self._joined_at = self._renew_from = 0.0
        self._thread = Thread(target=self._run, name="ear", daemon=True)

    def start(self) -> None:
        """Join the channel, then go on in the thread. Raises Outage."""
        self._hearing = self._join()
        log.info("hearing the channel", alone=self._alone)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether more may come."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._leaving.is_set():
                try:
                    self._hear()
                except Outage as outage:
                    self._come_back(outage)
            self._take(self._hearing.finish())
        except RetryError:
            log.warning("left while cut off from the channel")
        except Exception:
            # A bug: what was received is added, and the process ends, so that it is not silently deaf.
            log.exception("the channel is not heard any more")
            self.failed = True
        finally:
            self._leaving.set()
            self._open.close()

    def _hear(self) -> None:
        self._take(self._hearing.read(WAIT_S))
        if not self._backlog.numbering and self._backlog.has_room:
            # After an overflow: what is taken from the next milestone on has the same numbers for every
            # bridge again.
            self._set_milestone()
        if self._hearing.is_old() and time.monotonic() >= self._renew_from:
            self._renew()

    def _renew(self) -> None:
        """Hear by another subscription from a milestone on that both have heard: nothing is missed."""
        with ExitStack() as opened:
            try:
                successor = opened.enter_context(self._source.subscribed())
                token = secrets.token_hex(16)
                self._source.set_milestone(token)
                later = _take_up_to(token, successor, _leave)
            except Outage as outage:
                # This one still hears.
                self._renew_from = time.monotonic() + MILESTONE_TIMEOUT_S
                log.warning("the connection to the channel could not be renewed", reason=outage.reason)
                return
            _take_up_to(token, self._hearing, self._take)
            self._open.close()
            self._open, self._hearing = opened.pop_all(), successor
        self._take(later)

    def _join(self) -> Hearing:
        self._open.close()
        hearing = self._open.enter_context(self._source.subscribed())
        self._early = []
        try:
            deadline = self._set_milestone()
            while not self._backlog.numbering:
                self._take(hearing.read(WAIT_S))
                if time.monotonic() > deadline:
                    raise Outage("redis", "our own milestone was not heard")
        finally:
            self._account_for_early()
        self._joined_at = time.monotonic()
        return hearing

    def _set_milestone(self) -> float:
        if time.monotonic() >= self._next_milestone_at or self._early is not None:
            self._alone = self._source.set_milestone(secrets.token_hex(16)) <= 1
            self._next_milestone_at = time.monotonic() + MILESTONE_TIMEOUT_S
        return self._next_milestone_at

    def _come_back(self, outage: Outage) -> None:
        self._backlog.end()
        self._account.gaps += 1
        heard_at = self._hearing.heard_at
        log.warning("cut off: what is published now is lost, but for other bridges", reason=outage.reason)
        if time.monotonic() - self._joined_at < SHORT_S:
            # A server that cuts off whoever comes must not be asked without pause; else every moment counts.
            self._leaving.wait(FIRST_WAIT_S)
        patiently = Retrying(
            retry=retry_if_exception_type(Outage),
            wait=wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S),
            stop=stop_when_event_set(self._leaving),
            sleep=sleep_using_event(self._leaving),
        )
        self._hearing = patiently(self._join)
        gap_s = round(time.monotonic() - heard_at, 3)
        log.warning("hearing the channel again", alone=self._alone, gap_s=gap_s)

    def _take(self, heard: Sequence[Heard]) -> None:
        for is_milestone, data in heard:
            if is_milestone:
                overflowed = self._early is None and not self._backlog.numbering
                if self._backlog.begin(data):
                    self._next_milestone_at = 0.0
                    self._account_for_early()
                    if overflowed:
                        log.warning("there is room again", lost=self._account.lost)
                continue
            self._account.received += 1
            if not self._backlog.take(data):
                self._miss(data)

    def _miss(self, message: bytes) -> None:
        if self._early is not None:
            self._early.append(message)
        else:
            self._account.lose(message, "too much waits to be added", self._hiding)

    def _account_for_early(self) -> None:
        """Account for all before the first milestone: no number tells it from what other bridges add."""
        early, self._early = self._early or [], None
        if self._alone:
            for message in early:
                self._account.lose(
                    message,
                    "it came before the first milestone, and no other bridge was there",
                    self._hiding,
                )
        else:
            self._account.left_to_others += len(early)


def _take_up_to(token: str, hearing: Hearing, take: Callable[[Sequence[Heard]], None]) -> Sequence[Heard]:
    """Take all up to a milestone, itself included, and return what came behind it. Raises Outage."""
    milestone = Heard(True, token.encode())
    deadline = time.monotonic() + MILESTONE_TIMEOUT_S
    while time.monotonic() < deadline:
        heard = hearing.read(WAIT_S)
        if milestone in heard:
            end = heard.index(milestone) + 1
            take(heard[:end])
            return heard[end:]
        take(heard)
    raise Outage("redis", "our own milestone was not heard")


def _leave(_heard: Sequence[Heard]) -> None:
    """Take nothing: it is heard elsewhere, too."""
