"""What is done beside the orders, and must cost none of them anything."""

from collections.abc import Callable

import structlog

from worker.consumer.tally import Tally
from worker.domain.errors import ConfigurationError, Outage, Stopped, named
from worker.domain.ports import Monotonic

log = structlog.get_logger(__name__)

LEFT_FOR_S = 10.0


class Chores:
    """Does chores in turn.

    One that ends in an error nobody expected is told of and left for a while; orders go on.
    """

    def __init__(self, tally: Tally, *, clock: Monotonic) -> None:
        self._tally = tally
        self._clock = clock
        self._left_until: dict[str, float] = {}

    def do(self, name: str, act: Callable[[], object]) -> None:
        """Act, unless that failed lately. Raises what is expected: Outage, and what ends a process."""
        if self._clock() < self._left_until.get(name, 0.0):
            return
        try:
            act()
        except (Outage, Stopped, ConfigurationError):
            raise
        except Exception as error:
            self._tally.unexpected += 1
            self._left_until[name] = self._clock() + LEFT_FOR_S
            log.exception("unexpected error beside the orders", at=name, error=named(error))
