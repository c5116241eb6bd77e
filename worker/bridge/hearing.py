"""Hears a channel, gives what was heard its numbers, and comes back after a cut."""

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from threading import Event, Thread

import structlog
from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from worker import wire
from worker.bridge.account import Account
from worker.bridge.backlog import Backlog
from worker.bridge.ports import Hearing, Source
from worker.domain.channels import Fence, Heard
from worker.domain.errors import Outage

log = structlog.get_logger(__name__)

WAIT_S = 0.2
MILESTONE_TIMEOUT_S = 5.0
ADDED_WITHIN_S = 5.0
LOOK_S = 0.05
LATE_S = 0.2
SHORT_S = 1.0
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 1.0
ELSEWHERE = "the channel is heard at another server by now"


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
        self._alone = True
        self._server = self._fence = ""
        self._refused: str | None = None
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

    def come_back_from(self, fence: str) -> None:
        """Hear behind the fence of now, where this one is still ours: what is heard behind it is refused."""
        self._refused = fence

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
        if self._refused == self._fence:
            # All of it is refused, and told one by one.
            self._take_the_rest()
            raise Outage("redis", ELSEWHERE)
        if not self._backlog.numbering and self._backlog.has_room:
            # After an overflow: what is taken from the next milestone on has the same numbers for every
            # bridge again.
            self._set_milestone()
        if self._hearing.is_old() and time.monotonic() >= self._renew_from:
            self._renew()

    def _renew(self) -> None:
        """Hear by another subscription: at this server nothing is missed, to another one we move."""
        with ExitStack() as opened:
            try:
                successor = opened.enter_context(self._source.subscribed())
                # At another server the same messages may come in another order: numbers would not go on.
                goes_on = successor.server == self._hearing.server
                token = secrets.token_hex(16)
                if goes_on:
                    self._source.set_milestone(token)
                    later = _take_up_to(token, successor, _leave)
            except Outage as outage:
                # This one still hears.
                self._renew_from = time.monotonic() + MILESTONE_TIMEOUT_S
                log.warning("the connection to the channel could not be renewed", reason=outage.reason)
                return
            if goes_on:
                # Both have heard the milestone.
                _take_up_to(token, self._hearing, self._take)
            else:
                self._take_the_rest()
            self._open.close()
            left, self._open, self._hearing = self._hearing, opened.pop_all(), successor
        if goes_on:
            self._take(later)
        else:
            self._cut_off("its connection leads to another server by now")
            self._begin(successor)
            self._hear_again(left)

    def _take_the_rest(self) -> None:
        """Take what others hear elsewhere already, and what may be on its way here still."""
        _take_while(lambda: True, LATE_S, self._hearing, self._take)
        self._take(self._hearing.finish())

    def _join(self) -> Hearing:
        self._open.close()
        hearing = self._open.enter_context(self._source.subscribed())
        self._begin(hearing)
        return hearing

    def _begin(self, hearing: Hearing) -> None:
        """Number what comes after a milestone of our own, and account for all before it. Raises Outage."""
        early: list[Heard] = []
        fence = Fence("", 0)
        # Who was there before may not be there any more.
        self._alone = True
        token = secrets.token_hex(16)
        try:
            if hearing.server != self._server:
                # Once the channel has moved, what waits is refused.
                _take_while(lambda: len(self._backlog), ADDED_WITHIN_S, hearing, early.extend)
            # What others are refused from here on is heard here already.
            fence = self._source.fence(hearing.server)
            _take_while(lambda: True, fence.wait_s, hearing, early.extend)
            self._alone = self._source.set_milestone(token) <= 1
            # Another's milestone may have come too early for us.
            later = _take_up_to(token, hearing, early.extend)
        finally:
            self._account_for_early([each.data for each in early if not each.is_milestone], fence)
        self._server, self._fence = hearing.server, fence.name
        self._backlog.begin(token.encode(), fence.name)
        self._joined_at = time.monotonic()
        self._take(later)

    def _set_milestone(self) -> None:
        if time.monotonic() >= self._next_milestone_at:
            self._alone = self._source.set_milestone(secrets.token_hex(16)) <= 1
            self._next_milestone_at = time.monotonic() + MILESTONE_TIMEOUT_S

    def _come_back(self, outage: Outage) -> None:
        self._cut_off(outage.reason)
        left = self._hearing
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
        self._hear_again(left)

    def _cut_off(self, reason: str) -> None:
        self._backlog.end()
        self._account.gaps += 1
        log.warning("cut off: what is published now is lost, but for other bridges", reason=reason)

    def _hear_again(self, left: Hearing) -> None:
        gap_s = round(time.monotonic() - left.heard_at, 3)
        log.warning("hearing the channel again", alone=self._alone, gap_s=gap_s)

    def _take(self, heard: Sequence[Heard]) -> None:
        for is_milestone, data in heard:
            if is_milestone:
                overflowed = not self._backlog.numbering
                if self._backlog.begin(data, self._fence):
                    self._next_milestone_at = 0.0
                    if overflowed:
                        log.warning("there is room again", lost=self._account.lost)
                continue
            self._account.received += 1
            if not self._backlog.take(data):
                self._account.lose(data, "too much waits to be added", self._hiding)

    def _account_for_early(self, early: Sequence[bytes], fence: Fence) -> None:
        """Account for all before the first milestone: no number tells it from what other bridges add."""
        self._account.received += len(early)
        if fence.wait_s:
            why = "the channel was moved to this server, and a bridge at another one may have added it"
        elif self._alone:
            why = "it came before the first milestone, and no other bridge was there"
        else:
            for message in early:
                self._account.leave_to_others(message, self._hiding)
            return
        for message in early:
            self._account.lose(message, why, self._hiding)


def _take_while(
    goes_on: Callable[[], object],
    at_most_s: float,
    hearing: Hearing,
    take: Callable[[Sequence[Heard]], object],
) -> None:
    """Take all that comes while something goes on, but not for longer than a time."""
    until = time.monotonic() + at_most_s
    while goes_on() and (left_s := until - time.monotonic()) > 0:
        take(hearing.read(min(LOOK_S, left_s)))


def _take_up_to(token: str, hearing: Hearing, take: Callable[[Sequence[Heard]], object]) -> Sequence[Heard]:
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
