"""Waits, at a start, for servers that are away, and for a schema that another brings up."""

from collections.abc import Callable
from threading import Event
from typing import TypeVar

import structlog
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_any,
    stop_before_delay,
    stop_when_event_set,
    wait_exponential,
    wait_random,
)

from worker.domain.errors import AccessDenied, Outage, SchemaBehind

log = structlog.get_logger(__name__)

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 3.0
# It answers, and will say so for as long as it is what it is.
LASTING = ("WRONGTYPE", "unknown command")

Done = TypeVar("Done")


class Patience:
    """Tries again what an outage has kept from being done, for so many seconds, or until `leaving` is set.

    `for_schema`: a schema that is behind is waited for as well, and rights that are missing: somebody is
    about to migrate, and to grant them.
    """

    def __init__(
        self,
        limit_s: float,
        leaving: Event,
        tell: Callable[[Outage], object],
        *,
        for_schema: bool = False,
    ) -> None:
        self._limit_s = limit_s
        self._leaving = leaving
        self._tell = tell
        self._for_schema = for_schema

    def until_done(self, step: Callable[[], Done]) -> Done:
        """Return what a step returns that may be repeated.

        Raises the last Outage, or SchemaBehind, where time is up, and all else at once.
        """
        retrying = Retrying(
            retry=retry_if_exception(self._may_pass),
            wait=wait_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S) + wait_random(0, FIRST_WAIT_S),
            stop=stop_any(stop_before_delay(self._limit_s), stop_when_event_set(self._leaving)),
            sleep=sleep_using_event(self._leaving),
            before_sleep=self._keep_waiting,
            reraise=True,
        )
        return retrying(step)

    def _may_pass(self, error: BaseException) -> bool:
        if self._for_schema and isinstance(error, (SchemaBehind, AccessDenied)):
            return True
        # A refused password is for a person to mend.
        return (
            isinstance(error, Outage)
            and not isinstance(error, AccessDenied)
            and not any(sign in error.reason for sign in LASTING)
        )

    def _keep_waiting(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        so_far = {"attempt": state.attempt_number, "leaving_after_s": self._limit_s}
        if isinstance(error, Outage):
            log.warning("waiting for a server", server=error.server, reason=error.reason, **so_far)
            self._tell(error)
        else:
            log.info("waiting until another has migrated the schema", **so_far)
