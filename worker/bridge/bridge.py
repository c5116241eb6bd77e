"""The bridge: one thread adds to the orders stream what the other hears on a channel, each message once."""

import time
from contextlib import suppress
from threading import Event

import structlog
from msgspec.structs import asdict
from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception_type, wait_random_exponential

from worker import wire
from worker.bridge.account import Account
from worker.bridge.backlog import Backlog
from worker.bridge.hearing import ELSEWHERE, Ear
from worker.bridge.ports import Source
from worker.domain.channels import Batch
from worker.domain.errors import Outage, Stopped

log = structlog.get_logger(__name__)

WAIT_S = 0.2
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 1.0
REPORT_EVERY_S = 10.0


class Bridge:
    """A bridge runs until `leave`.

    Raises Outage where the channel can't be heard at the start, Stopped where it can't go on.
    """

    def __init__(
        self, source: Source, backlog: Backlog, *, drain_s: float, hiding: wire.Hiding = wire.NOTHING_HIDDEN
    ) -> None:
        self.account = Account()
        self._source = source
        self._backlog = backlog
        self._leaving = Event()
        self._drain_s = drain_s
        self._drain_until: float | None = None
        self._asked: Batch | None = None
        self._ear = Ear(source, backlog, self.account, self._leaving, hiding)
        self._hiding = hiding
        self._reported = asdict(self.account)
        self._report_at = time.monotonic() + REPORT_EVERY_S

    @property
    def hears(self) -> bool:
        """Whether what is published now will be added."""
        return self._backlog.numbering

    def leave(self) -> None:
        """Ask for the end: what was published before is heard and added."""
        self._leaving.set()

    def run(self) -> None:
        """Hear and add."""
        self._ear.start()
        while self._ear.is_alive() or len(self._backlog):
            batch = self._backlog.next_batch(WAIT_S)
            if batch is not None:
                self._add(batch)
            else:
                self._ask()
            self._report()
        log.info("bridge stopped", **asdict(self.account))
        if self._ear.failed:
            raise Stopped("the channel could not be heard any more")

    def _add(self, batch: Batch) -> None:
        patiently = Retrying(
            retry=retry_if_exception_type(Outage),
            wait=wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S),
            stop=self._is_late,
            before_sleep=self._keep_waiting,
        )
        try:
            added = patiently(self._source.add, batch)
        except RetryError:
            self._give_up(batch)
            return
        if added is None:
            # What waits behind it is refused in its turn.
            self._ear.come_back_from(batch.fence)
            self._lose(batch, f"{ELSEWHERE}, where a bridge may have added it")
            return
        self._backlog.done(batch)
        self.account.added += added
        self.account.added_by_others += len(batch.messages) - added

    def _ask(self) -> None:
        """Ask in each stretch whether we are shut out: while nothing is published, nothing else tells."""
        question = self._backlog.question()
        if question is None or question == self._asked:
            return
        with suppress(Outage):
            if self._source.add(question) is None:
                self._ear.come_back_from(question.fence)
            self._asked = question

    def _is_late(self, _state: RetryCallState) -> bool:
        if not self._leaving.is_set():
            return False
        if self._drain_until is None:
            self._drain_until = time.monotonic() + self._drain_s
        return time.monotonic() > self._drain_until

    def _keep_waiting(self, state: RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome is not None:
            why = str(state.outcome.exception())
            log.warning("can't add, keeping what comes", reason=why, waiting=len(self._backlog))
        self._report()

    def _give_up(self, at_hand: Batch) -> None:
        batch: Batch | None = at_hand
        while batch is not None:
            # Where only the answer was lost some of them were added; which, nobody could ask in time.
            self._lose(batch, "it could not be added before the drain timeout")
            batch = self._backlog.next_batch(0)
        log.error("bridge stopped", **asdict(self.account))
        raise Stopped(f"{self.account.lost} messages were lost, each is in the log")

    def _lose(self, batch: Batch, why: str) -> None:
        for message in batch.messages:
            self.account.lose(message, why, self._hiding)
        self._backlog.done(batch)

    def _report(self) -> None:
        now, counts = time.monotonic(), asdict(self.account)
        if now >= self._report_at and counts != self._reported:
            log.info("bridged", **counts, waiting=len(self._backlog))
            self._reported, self._report_at = counts, now + REPORT_EVERY_S
