"""Tells PostgreSQL which stream this source is.

So sources know each other, and two streams under one are noticed.
"""

import math

import structlog

from worker.domain.errors import ConfigurationError
from worker.domain.ports import Monotonic, Turn
from worker.source.ports import Sources, Token

log = structlog.get_logger(__name__)

EVERY_S = 10.0
# Others take a stream for gone that was silent for twenty seconds: should the one who had it die, the next
# asks within fifteen.
TURN_S = 5.0


class Registration:
    """The line of our stream in the book, which one replica keeps for all. Raises Outage.

    Others take our rows for their own where we were silent for long, and only those that are younger than
    their repair window: once nothing was done for `fresh_s` it is kept every `idle_every_s` (0: not at all).
    """

    def __init__(
        self,
        stream: Token,
        sources: Sources,
        turn: Turn,
        *,
        source: str,
        fresh_s: float,
        idle_every_s: float,
        clock: Monotonic,
    ) -> None:
        self._stream = stream
        self._sources = sources
        self._turn = turn
        self._source = source
        self._fresh_s = fresh_s
        self._idle_every_s = max(EVERY_S, idle_every_s or math.inf)
        self._clock = clock
        self._token: str | None = None
        self._streams = 1
        self._wanted = True
        self._last = clock()

    def begin(self) -> None:
        """Register before the first order; may be repeated.

        Raises ConfigurationError where the stream is another source.
        """
        # An outage may have kept the last try from being written.
        self._wanted = True
        self.go_on()

    def want(self) -> None:
        """Register with the next turn.

        The stream may be another one, and the one of before is not to look like a second.
        """
        self._wanted = True

    def go_on(self, *, idle_s: float = 0.0) -> None:
        """Register anew where that is due, and our turn, or the stream is another one.

        Raises ConfigurationError where it has become another source.
        """
        every_s = EVERY_S if idle_s < self._fresh_s else self._idle_every_s
        if not self._wanted and self._clock() < self._last + every_s:
            return
        wanted, self._wanted, self._last = self._wanted, False, self._clock()
        token = self._stream.token()
        if not wanted and token == self._token and not self._turn.take():
            return
        if self._token not in {None, token}:
            log.warning("the orders stream was lost, or is another one now", source=self._source)
            self._sources.gone(self._token or "")
        other = self._sources.seen(token, self._stream.results_token())
        if other is not None:
            # Its rows are that source's: orders that were executed but not settled yet would not be found as
            # ours.
            raise ConfigurationError(
                f"WORKER_SOURCE: this orders stream is the source {other!r}, and stays it:"
                f" set WORKER_SOURCE={other}; if it never was, end the replicas of {other!r}"
                f" and take the line with the token {token} out of the table order_sources"
            )
        self._token = token
        streams = self._sources.streams()
        if streams > 1 and streams != self._streams:
            log.warning(
                "several orders streams are worked on under one source",
                source=self._source,
                streams=streams,
                to_do="give each fleet on this database a WORKER_SOURCE of its own",
            )
        self._streams = streams
